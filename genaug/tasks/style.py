"""Style transfer by a network: the content of an image in the style of another (Johnson et al. 2016, arXiv:1603.08155).

One network learns several styles, each with its own scales and shifts of the normalisation layers (Dumoulin et al.
2017, arXiv:1610.07629). Content and style are compared by activations of VGG16: content at relu2_2, style at the last
ReLU of the first four blocks (Johnson et al., section 4.1). The Gram matrices of the styles are part of the state, so
a trained run does not need the style images.
"""

import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict
from PIL import Image, ImageOps

from genaug.augment import Pipeline
from genaug.errors import InputError
from genaug.losses.perceptual import Taps, feature_distance, gram, style_distance, total_variation
from genaug.models import ImageShape, Spec, imagenet, weights
from genaug.models.registry import NETWORKS
from genaug.ranges import Choice, Number
from genaug.tasks import Definition, Keys, Sampler, Task
from genaug.tasks.updates import apply_gradients, first_state, gradients, optimizers, ranges_of, split_keys

LAYERS = ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3')  # of VGG16, at which styles are compared
_CONTENT = LAYERS.index('relu2_2')

Images = Float[Array, 'b h w c']
Grams = dict[str, Float[Array, 'n c c']]  # layer of LAYERS -> Gram matrices


def names(config: ConfigDict) -> tuple[str, ...]:
  """Returns the names of the styles: file names without suffix."""
  return tuple(pathlib.PurePath(path).stem for path in config.style.images)


def activations(images: Images) -> Taps:
  """Returns the activations of images in [0, 1] at all of LAYERS."""
  return imagenet.taps('vgg16', imagenet.variables('vgg16'), 255 * images)[: len(LAYERS)]


def content_of(images: Images) -> Float[Array, 'b i j d']:
  """Returns the content of images in [0, 1], which a style should not change: activations at relu2_2."""
  return activations(images)[_CONTENT]


def losses(
  settings: ConfigDict, images: Images, content: Float[Array, 'b i j d'], grams: Grams
) -> dict[str, Float[Array, ' b']]:
  """Returns the losses of images in [0, 1] against target content and Gram matrices; `settings` is config.style.

  `style_total` is the weighted sum of the others.
  """
  taps = activations(images)
  terms = {
    'content_loss': feature_distance(taps[_CONTENT], content),
    'style_loss': style_distance(taps, [grams[layer] for layer in LAYERS]),
    'tv_loss': total_variation(images),
  }
  weights_of = {
    'content_loss': settings.content_weight,
    'style_loss': settings.style_weight,
    'tv_loss': settings.tv_weight,
  }
  return terms | {'style_total': sum(weights_of[name] * loss for name, loss in terms.items())}


def select_grams(grams: Grams, style: Int[Array, ' b']) -> Grams:
  """Returns the Gram matrices of each image's style."""
  return {layer: matrices[style] for layer, matrices in grams.items()}


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  network = NETWORKS[config.model.network].build(config, spec, axis_name)['stylizer']
  optimizer = optimizers(config, ('stylizer',))
  pipeline, count = Pipeline.from_config(config.augment), len(config.style.images)

  def init(key):
    one, style = jnp.zeros((1, *spec.image_shape)), jnp.zeros(1, jnp.int32)
    variables = network.init(key, one, style)
    params, stats = variables['params'], variables.get('batch_stats', {})
    # Files are read when the state is computed, not when only its shapes are needed (`jax.eval_shape`).
    shape = (count, *_shape(config, spec.image_shape))
    images = jax.pure_callback(
      lambda: np.stack([_read(path, shape[1:]) for path in config.style.images]),
      jax.ShapeDtypeStruct(shape, jnp.uint8),
      vmap_method='sequential',
    )
    grams = dict(zip(LAYERS, map(gram, activations(images / 255)), strict=True))
    return first_state(optimizer, {'stylizer': params}, {'stylizer': stats}, extra={'grams': grams})

  def drawn(keys: Keys) -> Int[Array, ' b']:
    """Draws a style for each example."""
    return jax.vmap(lambda key: jax.random.randint(key, (), 0, count))(keys)

  def train_step(state, batch, keys):
    streams = split_keys(keys, ('augment', 'style'))
    images = pipeline(streams['augment'], batch)['image']

    def objective(params, part):
      variables = {'params': params, 'batch_stats': state.stats['stylizer']}
      outputs, updated = network.apply(variables, part['images'], part['style'], train=True, mutable='batch_stats')
      grams = select_grams(state.extra['grams'], part['style'])
      terms = losses(config.style, outputs, content_of(part['images']), grams)
      means = {name: loss.mean() for name, loss in terms.items()}
      loss = means.pop('style_total')
      return loss, ({'loss': loss, **means}, updated.get('batch_stats', {}))

    examples = {'images': images, 'style': drawn(streams['style'])}
    grads, (metrics, stats) = gradients(
      objective, state.params['stylizer'], examples, config.train.accumulate, axis_name
    )
    params, opt = apply_gradients(optimizer, {'stylizer': grads}, state.opt, state.params)
    metrics['grad_norm'] = optax.tree.norm(grads)
    return state.replace(step=state.step + 1, params=params, stats={'stylizer': stats}, opt=opt), metrics

  def stylized(state, images: Images, style: Int[Array, ' b']) -> Images:
    return network.apply({'params': state.params['stylizer'], 'batch_stats': state.stats['stylizer']}, images, style)

  def eval_step(state, batch, keys):
    """Returns the losses of unaugmented images, each in a style drawn by its key."""
    images, style = batch['image'].astype(jnp.float32) / 255, drawn(keys)
    terms = losses(
      config.style, stylized(state, images, style), content_of(images), select_grams(state.extra['grams'], style)
    )
    return {name: terms[name] for name in ('content_loss', 'style_loss', 'style_total')}

  def sample(state, batch, keys):
    """Returns stylised images, cycling through the styles so that a few images show all of them."""
    del keys
    images = batch['image'].astype(jnp.float32) / 255
    return stylized(state, images, jnp.arange(len(images)) % count)

  return Task(init, train_step, eval_step, {'stylized': Sampler(sample, source='image')})


# ---------------------------------------------------------------- files of styles


def _shape(config: ConfigDict, image_shape: ImageShape) -> ImageShape:
  """Returns the shape that style images are resized to."""
  height, width, channels = image_shape
  side = max(8, math.ceil(max(height, width) * config.style.scale))  # pixels, so that every layer keeps at least one
  return side, side, channels


def _read(path: str, shape: ImageShape) -> UInt8[np.ndarray, 'h w c']:
  """Reads the central square of an image, resized to `shape` with antialiasing. Raises InputError.

  The image is turned upright by its EXIF orientation and composited on white.
  """
  try:
    with Image.open(path) as opened:
      image = ImageOps.exif_transpose(opened).convert('RGBA')
  except Exception as error:  # every decoder of Pillow has its own exceptions
    problem = 'no such file' if isinstance(error, FileNotFoundError) else f'no image that can be read ({error})'
    raise InputError('style.images', path, problem, 'name image files, such as PNG or JPEG') from None
  white = Image.new('RGBA', image.size, 'white')
  image = Image.alpha_composite(white, image).convert('L' if shape[-1] == 1 else 'RGB')
  return np.asarray(ImageOps.fit(image, shape[:2], Image.Resampling.BICUBIC)).reshape(shape)


def _check_files(config: ConfigDict) -> None:
  paths = config.style.images
  if isinstance(paths, str) or not paths or not all(isinstance(path, str) for path in paths):
    remedy = '--config.style.images="(\'wave.jpg\',)", with a comma after each path'
    raise InputError('style.images', paths, 'not paths of one or more image files', remedy)
  styles = names(config)
  if twice := [name for name in styles if styles.count(name) > 1]:
    raise InputError('style.images', paths, f'two styles would be called {twice[0]}', 'rename one of the files')
  for path in paths:
    _read(path, (8, 8, 3))
  weights.load('vgg16')


STYLE = Definition(
  build,
  roles=('stylizer',),
  inputs=('image',),
  provides=('stylized', 'content_loss', 'style_loss', 'style_total'),
  ranges={
    'model.blocks': Number(1),
    'model.norm': Choice(('instance', 'batch')),
    'style.scale': Number(0.5, 8),
    'style.content_weight': Number(),
    'style.style_weight': Number(),
    'style.tv_weight': Number(),
    **ranges_of(('stylizer',)),
  },
  progress=('loss', 'content_loss', 'style_loss'),
  cost=30,
  check_files=_check_files,
)
