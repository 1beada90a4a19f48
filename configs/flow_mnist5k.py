"""Class-conditional flow matching on 4,000 MNIST digits (Lipman et al. 2023, arXiv:2210.02747).

make train CONFIG=configs/flow_mnist5k.py

Score: experiments/results/README.md.
"""

from configs.families import flow


def get_config():
  c = flow.get_config()
  c.train.steps = 2000
  c.eval.every = 1000
  c.eval.samples = 1000  # as many as there are test images
  return c
