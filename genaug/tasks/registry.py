"""Every task that a config can name."""

from genaug.tasks.classify import CLASSIFY
from genaug.tasks.fixmatch import FIXMATCH
from genaug.tasks.flow import FLOW, IMAGE_VARIATIONS, TEXT_TO_IMAGE
from genaug.tasks.fsq import FSQ
from genaug.tasks.gan import GAN
from genaug.tasks.hyperprior import HYPERPRIOR
from genaug.tasks.style import STYLE
from genaug.tasks.superres import SUPERRES
from genaug.tasks.translation import CUT, CYCLEGAN, PIX2PIX
from genaug.tasks.vae import VAE

TASKS = {
  'gan': GAN,
  'vae': VAE,
  'fsq': FSQ,
  'flow': FLOW,
  'text_to_image': TEXT_TO_IMAGE,
  'image_variations': IMAGE_VARIATIONS,
  'hyperprior': HYPERPRIOR,
  'pix2pix': PIX2PIX,
  'cut': CUT,
  'cyclegan': CYCLEGAN,
  'superres': SUPERRES,
  'style': STYLE,
  'classify': CLASSIFY,
  'fixmatch': FIXMATCH,
}
