"""Similarity of upscaled images to the originals, with cubic interpolation of the same inputs as baseline.

As is usual for super-resolution: on luma and on RGB, with as many pixels cropped at each border as the scale.
"""

import numpy as np
from jaxtyping import Float, UInt8

from genaug.metrics import EvalContext, Metric, Scores
from genaug.metrics.diversity import lpips
from genaug.metrics.reconstruction import WINDOW, mean_lpips, psnr, ssim
from genaug.models import imagenet, weights

_COUNT = 1000  # largest number of images whose LPIPS is computed
_RGB_TO_LUMA = np.array([65.481, 128.553, 24.966]) / 255

Images = UInt8[np.ndarray, 'n h w c']


def luma(images: Images) -> Float[np.ndarray, 'n h w 1']:
  """Returns Y of ITU-R BT.601 in 16..235, as MATLAB's rgb2ycbcr but not rounded; grey images as they are."""
  return images.astype(np.float64) if images.shape[-1] == 1 else 16 + (images @ _RGB_TO_LUMA)[..., None]


def cropped(images: Images, border: int) -> Images:
  """Crops that many pixels at each side."""
  return images[:, border:-border, border:-border]


def _lpips(images: Images, references: Images) -> float:
  """Returns the mean LPIPS of pairs at their own size, as resizing would remove the detail that interpolation blurs.

  Images smaller than 64 pixels are enlarged to 64x64.
  """
  if min(images.shape[1:3]) < imagenet.SIDE:
    return mean_lpips(images, references)
  parts = (np.array_split(x, -(-len(x) // 50)) for x in (images, references))
  return float(np.concatenate([lpips(*pair) for pair in zip(*parts, strict=True)]).mean(dtype=np.float64))


def scores_of(images: Images, references: Images) -> dict[str, float]:
  """Returns mean PSNR in dB and SSIM, on all channels and (_y) on luma, and LPIPS; SSIM unless images are too small."""
  pairs = {'': (images, references), '_y': (luma(images), luma(references))}
  scores = {f'psnr{on}': float(np.mean(psnr(*pair))) for on, pair in pairs.items()}
  if min(images.shape[1:3]) >= WINDOW:
    scores |= {f'ssim{on}': float(np.mean(ssim(*pair), dtype=np.float64)) for on, pair in pairs.items()}
  return scores | {'lpips': _lpips(images[:_COUNT], references[:_COUNT])}


def _super_resolution(run: EvalContext) -> Scores:
  """Scores all test images, upscaled by the network and by cubic interpolation."""
  outputs = run.outputs()
  scale, is_blind = int(outputs['scale'][0]), bool(outputs['blind'][0])
  references = cropped(run.test['image'], scale)
  score = lambda sampler: scores_of(cropped(run.samples_from_test(sampler), scale), references)
  if 'bicubic' not in run.cache:
    run.cache['bicubic'] = score('bicubic')
  methods = {'super': score('upscaled'), 'bicubic': run.cache['bicubic']}
  scores = {f'eval/{name}_{key}': value for name, result in methods.items() for key, value in result.items()}
  return scores | {
    'eval/super_scale': scale,
    'eval/super_inputs': 'blindly degraded' if is_blind else 'bicubic',
    'eval/super_images': len(references),
    'eval/super_split': run.split,
  }


def _text(scores: Scores) -> str:
  def line(name):
    value = lambda score: scores[f'eval/{name}_{score}']
    similarity = f', SSIM {value("ssim_y"):.4f}' if f'eval/{name}_ssim_y' in scores else ''
    similarity_rgb = f', SSIM {value("ssim"):.4f}' if similarity else ''
    all_channels = f'(all channels {value("psnr"):.2f} dB{similarity_rgb})'
    return f'{value("psnr_y"):.2f} dB{similarity} on Y {all_channels}, LPIPS {value("lpips"):.3f}'

  scale, count = scores['eval/super_scale'], scores['eval/super_images']
  return (
    f'super-resolution x{scale} of {scores["eval/super_inputs"]} images: PSNR {line("super")}; cubic interpolation'
    f' {line("bicubic")} [{count:,} images of {scores["eval/super_split"]}, {scale} pixels of each border left out;'
    f' kernel of Keys, a = -0.5, antialiased; LPIPS of {min(_COUNT, count):,}, alexnet]'
  )


SUPER_RESOLUTION = Metric(
  _super_resolution, 'eval/super_psnr_y', 'max', 'upscaled', _text, lambda config: weights.load('alexnet')
)
