"""VAE on 4,000 dynamically binarised MNIST digits (Kingma and Welling 2014, arXiv:1312.6114).

make train CONFIG=configs/vae_mnist5k.py   # or with :resnet, :ladder (other networks), :iwae (a bound of 8 draws),
:vamp (a learned prior), :lossless (for experiments.compress), :restore (for experiments.restore)
"""

from configs.families import vae


def get_config(variant=''):
  c = vae.get_config(variant)
  c.eval.every = 1000
  return c


def get_sweep(trial):
  trial.suggest_float('optim.lr', 1e-4, 1e-2, log=True)
  trial.suggest_int('model.z_dim', 8, 64, log=True)
  trial.suggest_float('vae.beta', 0.5, 2.0, log=True)
