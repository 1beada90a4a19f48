"""GANs on stacked MNIST: how many of 1,000 modes do they find? (Srivastava et al. 2017, arXiv:1705.07761)

make train CONFIG=configs/stacked_mnist.py:r3

After the colon: dcgan, sngan, wgan_gp or r3, a loss with its penalties; compared in experiments/results/README.md.
"""

from configs.families import gan


def get_config(loss='r3'):
  if loss not in gan.LOSSES:
    raise ValueError(f'loss = {loss!r}: must be one of {", ".join(gan.LOSSES)}')
  c = gan.dcgan()
  c.data.name = 'stacked_mnist'
  c.model.conditional = False
  c.train.steps = 8000
  c.eval.update({'metrics': ('modes', 'coverage'), 'samples': 26_000})
  c.update_from_flattened_dict(gan.LOSSES[loss])
  return c
