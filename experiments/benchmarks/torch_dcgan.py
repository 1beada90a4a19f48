"""PyTorch eager: the DCGAN step of configs/gan_mnist5k.py, the same networks, losses and order of updates."""

from collections.abc import Callable


def make(threads: int) -> Callable[[int], None]:
  """run(steps), on a fixed batch."""
  import torch
  from torch import nn

  torch.set_num_threads(threads)
  generator = nn.Sequential(
    nn.Linear(100, 7 * 7 * 128, bias=False),
    nn.Unflatten(1, (128, 7, 7)),
    nn.BatchNorm2d(128),
    nn.ReLU(),
    nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
    nn.BatchNorm2d(64),
    nn.ReLU(),
    nn.ConvTranspose2d(64, 1, 4, 2, 1),
    nn.Tanh(),
  )
  discriminator = nn.Sequential(
    nn.Conv2d(1, 64, 4, 2, 1),
    nn.LeakyReLU(0.2),
    nn.Conv2d(64, 128, 4, 2, 1, bias=False),
    nn.BatchNorm2d(128),
    nn.LeakyReLU(0.2),
    nn.Flatten(),
    nn.Linear(7 * 7 * 128, 1),
  )
  g_opt, d_opt = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (generator, discriminator))
  loss, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(64, 1), torch.zeros(64, 1)
  real = torch.rand(64, 1, 28, 28) * 2 - 1

  def run(steps: int) -> None:
    for _ in range(steps):
      fake = generator(torch.randn(64, 100))
      d_opt.zero_grad()
      (loss(discriminator(real), ones) + loss(discriminator(fake.detach()), zeros)).backward()
      d_opt.step()
      g_opt.zero_grad()
      loss(discriminator(fake), ones).backward()
      g_opt.step()

  return run
