"""augmax: functions (key, image), for jit(vmap(...))."""

from experiments.benchmarks.calls import WHOLE, Named, call

MODULE, PACKAGE = 'augmax', 'augmax'
ONE_DRAW = ('gaussian_blur',)  # operations that draw once for the whole batch


def _translate(Translate, n):
  import jax

  def each(key, image):  # its class takes one shift for all images; a traced value is another one for each
    dx, dy = jax.random.uniform(key, (2,), minval=-n / 4, maxval=n / 4)
    return Translate(dx, dy)(key, image)

  return each


def _solarize(Solarization, n):
  import jax

  def each(key, image):  # as above
    return Solarization(jax.random.uniform(key, minval=0.5), p=1.0)(key, image)

  return each


def _chained(name, *arguments) -> Named:
  """Wraps an operation that works only within a chain."""

  def make(found, n):
    import augmax

    return augmax.Chain(found(*arguments, p=1.0))

  return Named(name, make)


OPS = {
  'hflip': call('HorizontalFlip', p=1.0),
  'vflip': call('VerticalFlip', p=1.0),
  'rot90': call('Rotate90'),
  'rotate': call('Rotate', (-30, 30)),
  'translate': Named('Translate', _translate),
  'random_resized_crop': call('RandomSizedCrop', lambda n: n, lambda n: n, zoom_range=(1.0, 3.5)),
  'center_crop': call('CenterCrop', lambda n: n * 7 // 8),
  'resize': call('Resize', lambda n: n * 3 // 2),
  'elastic': call('Warp', lambda n: 0.014 * n, lambda n: n // 16),  # a grid of displacements, like ours
  'brightness': call('RandomBrightness', (-0.8, 0.8), p=1.0),
  'contrast': call('RandomContrast', (-0.4, 0.4), p=1.0),
  'gamma': call('RandomGamma', (0.67, 1.5), p=1.0),
  'grayscale': call('RandomGrayscale', p=1.0),
  'solarize': Named('Solarization', _solarize),
  'color_jitter': call('ColorJitter', 0.4, 0.4, 0.4, 0.1, p=1.0),
  'channel_shuffle': call('ChannelShuffle', p=1.0),
  'channel_drop': call('ChannelDrop', p=1.0),
  'gaussian_blur': _chained('GaussianBlur', 3.5),  # its kernel has 2 * sigma pixels
  'box_blur': _chained('Blur', 5),
  'grid_shuffle': call('GridShuffle', (4, 4), p=1.0),
}
FEATURES = {  # further features, see experiments.features
  'hue': 'ColorJitter',
  'masks follow': 'Chain',
  'keypoints follow': 'InputType.KEYPOINTS',
  'chains of moves resampled once': 'GeometricChain',
  'inverse': 'Chain.invert',
  **dict.fromkeys((*WHOLE, 'jit and vmap'), 'Chain'),
}
