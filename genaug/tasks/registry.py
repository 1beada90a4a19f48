"""Every task that a config can name."""

from genaug.tasks.classify import CLASSIFY
from genaug.tasks.flow import FLOW
from genaug.tasks.fsq import FSQ
from genaug.tasks.gan import GAN
from genaug.tasks.hyperprior import HYPERPRIOR
from genaug.tasks.style import STYLE
from genaug.tasks.vae import VAE

TASKS = {
  'gan': GAN,
  'vae': VAE,
  'fsq': FSQ,
  'flow': FLOW,
  'hyperprior': HYPERPRIOR,
  'style': STYLE,
  'classify': CLASSIFY,
}
