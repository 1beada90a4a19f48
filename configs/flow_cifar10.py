"""Flow matching on CIFAR-10 with non-leaky augmentation (Karras et al. 2022, appendix F, arXiv:2206.00364).

make train CONFIG=configs/flow_cifar10.py   # for a GPU; its score is of a smaller network, trained for 8,000 steps
on a CPU core by the command in experiments/results/README.md
"""

from configs.families import flow


def get_config():
  c = flow.get_config()
  c.data.name = 'cifar10'
  c.model.update({'width': 64, 'blocks': 2, 'dropout': 0.13})
  c.augment.border = 'reflect'
  c.flow.augment = ('hflip', 'translate', 'scale', 'rotate')
  c.flow.augment_p = 0.12
  c.train.steps = 100_000
  c.eval.every = 10_000
  return c
