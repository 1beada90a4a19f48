"""PyTorch's side of experiments.bench step: the networks of genaug.models, at the sizes that are measured.

Initialisation is PyTorch's, as it does not affect the time. Channels are last in memory, which is fastest on CPU.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


class _Permute(nn.Module):
  """Permutation of axes, which leaves the memory as it is."""

  def __init__(self, *order: int):
    super().__init__()
    self.order = order

  def forward(self, x):
    return x.permute(self.order)


def _unflatten(side: int, channels: int) -> tuple[nn.Module, nn.Module]:
  return nn.Unflatten(1, (side, side, channels)), _Permute(0, 3, 1, 2)


# ---------------------------------------------------------------- dcgan, 28x28x1


def dcgan_generator() -> nn.Module:
  return nn.Sequential(
    nn.Linear(100, 7 * 7 * 128, bias=False),
    *_unflatten(7, 128),
    nn.BatchNorm2d(128),
    nn.ReLU(),
    nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
    nn.BatchNorm2d(64),
    nn.ReLU(),
    nn.ConvTranspose2d(64, 1, 4, 2, 1),
    nn.Tanh(),
  )


def dcgan_discriminator() -> nn.Module:
  return nn.Sequential(
    nn.Conv2d(1, 64, 4, 2, 1),
    nn.LeakyReLU(0.2),
    nn.Conv2d(64, 128, 4, 2, 1, bias=False),
    nn.BatchNorm2d(128, track_running_stats=False),  # nothing reads them
    nn.LeakyReLU(0.2),
    _Permute(0, 2, 3, 1),
    nn.Flatten(),
    nn.Linear(7 * 7 * 128, 1),
  )


# ---------------------------------------------------------------- r3, 28x28x1, with stride 2 next to the image


def _smooth(x: torch.Tensor, up: bool) -> torch.Tensor:
  """Doubles or halves the sides, filtered by [1, 2, 1] along both."""
  line = torch.tensor([1.0, 2.0, 1.0])
  kernel, channels = torch.outer(line, line).expand(x.shape[1], 1, 3, 3), x.shape[1]
  if up:
    return F.conv_transpose2d(x, kernel / 4, stride=2, padding=1, output_padding=1, groups=channels)
  return F.conv2d(x, kernel / 16, stride=2, padding=1, groups=channels)


class _R3Block(nn.Sequential):
  def __init__(self, features: int):
    inside = 2 * features
    grouped = nn.Conv2d(inside, inside, 3, padding=1, groups=inside // 16)
    last = nn.Conv2d(inside, features, 1, bias=False)
    super().__init__(nn.Conv2d(features, inside, 1), nn.LeakyReLU(0.2), grouped, nn.LeakyReLU(0.2), last)

  def forward(self, x):
    return x + super().forward(x)


class R3Generator(nn.Module):
  def __init__(self):
    super().__init__()
    self.basis = nn.Parameter(torch.randn(64, 7, 7))
    self.linear = nn.Linear(64, 64, bias=False)
    self.low = _R3Block(64)
    self.narrow = nn.Conv2d(64, 32, 1, bias=False)
    self.high = _R3Block(32)
    self.pixels = nn.ConvTranspose2d(32, 1, 4, 2, 1, bias=False)

  def forward(self, z):
    x = self.low(self.basis * self.linear(z)[:, :, None, None])
    return self.pixels(self.high(_smooth(self.narrow(x), up=True)))


class R3Discriminator(nn.Module):
  def __init__(self):
    super().__init__()
    self.pixels = nn.Conv2d(1, 32, 4, 2, 1, bias=False)
    self.high = _R3Block(32)
    self.widen = nn.Conv2d(32, 64, 1, bias=False)
    self.low = _R3Block(64)
    self.basis = nn.Parameter(torch.randn(64, 7, 7) / 7)
    self.logit = nn.Linear(64, 1)

  def forward(self, x):
    x = _smooth(self.high(self.pixels(x)), up=False)
    return self.logit((self.low(self.widen(x)) * self.basis).sum((2, 3)))


# ---------------------------------------------------------------- resnet, 32x32x3


class _Up(nn.Module):
  def __init__(self, before: int, after: int):
    super().__init__()
    self.norm1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, after, 3, padding=1, bias=False)
    self.norm2, self.conv2 = nn.BatchNorm2d(after), nn.Conv2d(after, after, 3, padding=1, bias=False)
    self.skip = nn.Conv2d(before, after, 1, bias=False)

  def forward(self, x):
    h = self.conv1(F.interpolate(F.relu(self.norm1(x)), scale_factor=2))
    return self.conv2(F.relu(self.norm2(h))) + F.interpolate(self.skip(x), scale_factor=2)


class _Down(nn.Module):
  def __init__(self, before: int, after: int, first: bool = False, pool: bool = True):
    super().__init__()
    self.conv1, self.conv2 = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
    self.skip, self.first, self.pool = nn.Conv2d(before, after, 1), first, nn.AvgPool2d(2) if pool else nn.Identity()

  def forward(self, x):
    h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
    return self.pool(h) + self.skip(self.pool(x))


def resnet_generator() -> nn.Module:
  ups = (_Up(256, 256), _Up(256, 128), _Up(128, 64))
  last = (nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 3, 3, padding=1), nn.Tanh())
  return nn.Sequential(nn.Linear(128, 4 * 4 * 256), *_unflatten(4, 256), *ups, *last)


class ResnetDiscriminator(nn.Module):
  def __init__(self):
    super().__init__()
    downs = (_Down(3, 64, first=True), _Down(64, 128), _Down(128, 256), _Down(256, 256, pool=False))
    self.downs, self.logit = nn.Sequential(*downs), nn.Linear(256, 1)
    for layer in list(self.modules()):
      if isinstance(layer, nn.Conv2d | nn.Linear):
        spectral_norm(layer)

  def forward(self, x):
    return self.logit(F.relu(self.downs(x)).sum((2, 3)))


# ---------------------------------------------------------------- unet, 28x28x1 as 14x14 patches


def _norm(channels: int) -> nn.Module:
  return nn.GroupNorm(channels // 4, channels)


class _Block(nn.Module):
  def __init__(self, before: int, after: int):
    super().__init__()
    self.norm1, self.conv1 = _norm(before), nn.Conv2d(before, after, 3, padding=1)
    self.film = nn.Linear(128, 2 * after)
    self.norm2, self.conv2 = _norm(after), nn.Conv2d(after, after, 3, padding=1)
    self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

  def forward(self, x, condition):
    scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
    h = self.norm2(self.conv1(F.silu(self.norm1(x))))
    return self.skip(x) + self.conv2(F.silu(h * (1 + scale) + shift))


class _Attention(nn.Module):
  def __init__(self, channels: int):
    super().__init__()
    self.norm, self.qkv, self.out = _norm(channels), nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

  def forward(self, x):
    q, k, v = self.qkv(self.norm(x).flatten(2).mT)[:, None].chunk(3, -1)  # [b, one head, pixels, channels]
    return x + self.out(F.scaled_dot_product_attention(q, k, v)[:, 0]).mT.unflatten(2, x.shape[2:])


class UNet(nn.Module):
  def __init__(self):
    super().__init__()
    self.time, self.label, self.condition = nn.Linear(32, 128), nn.Embedding(11, 128), nn.Linear(128, 128)
    self.first, self.down1, self.shrink = nn.Conv2d(4, 32, 3, padding=1), _Block(32, 32), nn.Conv2d(32, 64, 4, 2, 1)
    self.down2, self.middle1, self.attention, self.middle2 = (
      _Block(64, 64),
      _Block(64, 64),
      _Attention(64),
      _Block(64, 64),
    )
    self.up2, self.grow, self.up1 = _Block(128, 64), nn.ConvTranspose2d(64, 32, 4, 2, 1), _Block(64, 32)
    self.norm, self.last = _norm(32), nn.Conv2d(32, 4, 3, padding=1)
    self.frequencies = 2 * torch.pi * torch.logspace(-1, 4, 16, base=2)

  def forward(self, x, t, label):
    angles = t[:, None] * self.frequencies
    condition = self.time(torch.cat([angles.cos(), angles.sin()], 1)) + self.label(label)
    condition = F.silu(self.condition(F.silu(condition)))
    high = self.down1(self.first(F.pixel_unshuffle(x, 2)), condition)
    low = self.down2(self.shrink(high), condition)
    x = self.middle2(self.attention(self.middle1(low, condition)), condition)
    x = self.grow(self.up2(torch.cat([x, low], 1), condition))
    x = self.up1(torch.cat([x, high], 1), condition)
    return F.pixel_shuffle(self.last(F.silu(self.norm(x))), 2)


# ---------------------------------------------------------------- variational autoencoders, 28x28x1


class _Residual(nn.Module):
  def __init__(self, channels: int):
    super().__init__()
    self.norm1, self.conv1 = _norm(channels), nn.Conv2d(channels, channels, 3, padding=1)
    self.norm2, self.conv2 = _norm(channels), nn.Conv2d(channels, channels, 3, padding=1)

  def forward(self, x):
    return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


def _residual(channels: int, blocks: int) -> nn.Module:
  return nn.Sequential(*(_Residual(channels) for _ in range(blocks)))


class VaeEncoder(nn.Module):
  """Images -> (mean, log variance, features of each resolution)."""

  def __init__(self, blocks: int):
    super().__init__()
    self.down1 = nn.Sequential(nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), _residual(32, blocks))
    self.down2 = nn.Sequential(nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), _residual(64, blocks))
    hidden = nn.Linear(7 * 7 * 64, 256), nn.ReLU(), nn.Linear(256, 64)
    self.vector = nn.Sequential(_Permute(0, 2, 3, 1), nn.Flatten(), *hidden)

  def forward(self, x):
    high = self.down1(2 * x - 1)
    low = self.down2(high)
    return *self.vector(low).chunk(2, -1), (high, low)


def _from_vector() -> nn.Module:
  hidden = nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 7 * 7 * 64), nn.ReLU()
  return nn.Sequential(*hidden, *_unflatten(7, 64))


class VaeDecoder(nn.Module):
  """(noise, outputs of the encoder) -> (logits, KL of each image)."""

  def __init__(self, blocks: int):
    super().__init__()
    self.vector = _from_vector()
    self.low = _residual(64, blocks)
    self.grow = nn.Sequential(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), _residual(32, blocks))
    self.pixels = nn.ConvTranspose2d(32, 1, 4, 2, 1)

  def forward(self, noise, encoded):
    mean, log_var, _ = encoded
    x = self.vector(mean + torch.exp(0.5 * log_var) * noise[0])
    return self.pixels(self.grow(self.low(x))), _kl(mean, log_var)


def _kl(mean: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
  return 0.5 * (log_var.exp() + mean**2 - 1 - log_var).flatten(1).sum(1)


class _Level(nn.Module):
  """One level of the ladder: (decoder features, encoder features, noise) -> (features with latents added, KL)."""

  def __init__(self, channels: int):
    super().__init__()
    self.prior, self.posterior = nn.Conv2d(channels, 8, 3, padding=1), nn.Conv2d(2 * channels, 8, 3, padding=1)
    self.latents = nn.Conv2d(4, channels, 1)

  @staticmethod
  def _normal(raw):
    mean, scale = raw.chunk(2, 1)
    return mean, 2 * F.softplus(scale + 0.5413248546).log()

  def forward(self, x, seen, noise):
    mean, log_var = self._normal(self.prior(F.silu(x)))
    relative_mean, relative_log_var = self._normal(self.posterior(F.silu(torch.cat([x, seen], 1))))
    posterior_mean = mean + torch.exp(0.5 * log_var) * relative_mean
    z = posterior_mean + torch.exp(0.5 * (log_var + relative_log_var)) * noise
    return x + self.latents(z), _kl(relative_mean, relative_log_var)


class LadderDecoder(nn.Module):
  def __init__(self):
    super().__init__()
    self.vector = _from_vector()
    self.low1, self.level1, self.low2 = _Residual(64), _Level(64), _Residual(64)
    self.grow = nn.Sequential(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), _Residual(32))
    self.level2, self.high, self.pixels = _Level(32), _Residual(32), nn.ConvTranspose2d(32, 1, 4, 2, 1)

  def forward(self, noise, encoded):
    mean, log_var, (high, low) = encoded
    x = self.vector(mean + torch.exp(0.5 * log_var) * noise[0])
    x, kl1 = self.level1(self.low1(x), low, noise[1])
    x, kl2 = self.level2(self.grow(self.low2(x)), high, noise[2])
    return self.pixels(self.high(x)), _kl(mean, log_var) + kl1 + kl2
