"""Table autoencoder of experiments.bench: ELBOs of a VAE here and in PyTorch, after equal steps on the same digits."""

import pathlib
import tempfile

import numpy as np
import torch
from torch import nn

from experiments.benchmarks.torch_networks import VaeDecoder, VaeEncoder
from experiments.benchmarks.torch_steps import negative_elbo
from genaug.study.intervals import mean_interval

_BATCH, _LR, _SHAPES = 64, 1e-3, ((32,),)


def _pytorch(images: np.ndarray, test: np.ndarray, steps: int, seed: int) -> float:
  """Trains the VAE in PyTorch; returns the mean ELBO of the test images in nats."""
  torch.manual_seed(seed)
  encoder, decoder = VaeEncoder(0), VaeDecoder(0)
  for layer in (*encoder.modules(), *decoder.modules()):
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
      nn.init.zeros_(layer.bias)
  optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], _LR, (0.9, 0.999))
  schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
  grey, held_out = (torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255 for x in (images, test))
  order = torch.cat([torch.randperm(len(grey)) for _ in range(-(-steps * _BATCH // len(grey)))])
  for i in range(steps):
    x = torch.bernoulli(grey[order[i * _BATCH : (i + 1) * _BATCH]])
    loss = negative_elbo(encoder, decoder, x, _SHAPES).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
  with torch.no_grad():
    return -negative_elbo(encoder, decoder, torch.bernoulli(held_out), _SHAPES).double().mean().item()


def table(data_dir: pathlib.Path, steps: int = 2000, seeds: int = 3) -> dict:
  """Trains the VAE with both libraries and every seed; returns the ELBOs and their mean difference."""
  from configs import vae_mnist5k
  from genaug.study.seeds import train
  from genaug.training import workdir
  from genaug.training.experiment import prepare

  config = vae_mnist5k.get_config().copy_and_resolve_references()
  config.train.update({'steps': steps, 'snapshot_every': steps, 'checkpoint_every': steps})
  config.eval.update({'metrics': config.eval.metrics[:1], 'every': steps})
  dataset = prepare(config, data_dir, lambda _: None).dataset
  train_images, test_images = (np.asarray(split.arrays['image']) for split in (dataset.train, dataset.test))
  elbos: dict[str, list[float]] = {'genaug': [], 'torch': []}
  for seed in range(seeds):
    with tempfile.TemporaryDirectory() as directory:
      run = train(config, seed, pathlib.Path(directory), data_dir, lambda _: None)
    elbos['genaug'].append(run['eval/elbo_nats'])
    elbos['torch'].append(_pytorch(train_images, test_images, steps, seed))
    print(f'seed {seed}: ELBO {elbos["genaug"][-1]:.2f} nats, PyTorch {elbos["torch"][-1]:.2f}', flush=True)
  difference = mean_interval([ours - peer for ours, peer in zip(*elbos.values())])
  print(f'difference {difference["mean"]:+.2f} ± {difference["half_width_95"]:.2f} nats')
  return {
    'what': f'ELBO in nats of {len(test_images):,} binarised test digits, a draw each, after {steps:,} steps of 64 of '
    f'{len(train_images):,}: the convolutional VAE of vae_mnist5k, and its architecture and objective in PyTorch',
    'environment': workdir.environment() | {'torch': torch.__version__},
    'steps': steps,
    'elbo_nats': elbos,
    'difference': difference,
  }
