"""SNGAN on CIFAR-10 (Miyato et al. 2018, arXiv:1802.05957, table 4), conditional by projection (arXiv:1802.05637).

make train CONFIG=configs/sngan_cifar10.py

For a GPU. The paper's discriminator has 128 channels (here 256). Time and score: not yet measured.
"""

from configs.families import gan


def get_config(variant=''):
  c = gan.get_config(variant)
  c.data.name = 'cifar10'
  c.augment.hflip.p = 0.5
  c.model.update({'network': 'resnet', 'conditional': True, 'd_norm': 'spectral', 'z_dim': 128})
  c.model.update({'width': 256, 'max_width': 256})
  c.optim.update({'b1': 0.0, 'b2': 0.9, 'schedule': 'linear'})
  c.gan.update({'loss': 'hinge', 'd_steps': 5})
  c.train.steps = 250_000  # updates of the discriminator
  return c
