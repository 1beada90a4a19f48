"""PyTorch's side of experiments.bench step: image-to-image networks; torch_networks has the others."""

import itertools

import torch
from torch import nn
from torch.nn import functional as F

# ---------------------------------------------------------------- super-resolution, of any size


class Upscaler(nn.Module):
  def __init__(self):
    super().__init__()
    conv = lambda before, after: nn.Conv2d(before, after, 3, padding=1)
    self.first = conv(3, 32)
    self.blocks = nn.ModuleList(nn.Sequential(conv(32, 32), nn.ReLU(), conv(32, 32)) for _ in range(6))
    self.body, self.last = conv(32, 32), conv(32, 12)

  def forward(self, x):
    first = h = self.first(x - 0.5)
    for block in self.blocks:
      h = h + block(h)
    cubic = F.interpolate(x, scale_factor=2, mode='bicubic', antialias=True)  # a = -0.5, unlike without antialias
    return cubic + F.pixel_shuffle(self.last(first + self.body(h)), 2)


# ---------------------------------------------------------------- pix2pix, 64x64x3


def _instance_norm(channels: int) -> nn.Module:
  return nn.InstanceNorm2d(channels, affine=True)


class UNetTranslator(nn.Module):
  def __init__(self):
    super().__init__()
    widths = (3, 32, 64, 128, 256)
    pairs = list(itertools.pairwise(widths))
    self.downs = nn.ModuleList(nn.Conv2d(*pair, 4, 2, 1, bias=pair[0] == 3) for pair in pairs)
    self.norms = nn.ModuleList(map(_instance_norm, widths[2:]))
    befores = [256, *(2 * after for _, after in pairs[2:0:-1])]
    self.ups = nn.ModuleList(
      nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False) for before, after in zip(befores, widths[3:0:-1])
    )
    self.up_norms = nn.ModuleList(map(_instance_norm, widths[3:0:-1]))
    self.pixels = nn.ConvTranspose2d(64, 3, 4, 2, 1)

  def forward(self, x):
    skips = [self.downs[0](x)]
    for down, norm in zip(self.downs[1:], self.norms):
      skips.append(norm(down(F.leaky_relu(skips[-1], 0.2))))
    x = F.relu(skips.pop())
    for up, norm in zip(self.ups, self.up_norms):
      x = F.relu(torch.cat([norm(up(x)), skips.pop()], 1))
    return self.pixels(x).tanh()


def patch_discriminator() -> nn.Module:
  """Returns a PatchGAN discriminator of pairs of images, which are stacked along the channels."""
  return nn.Sequential(
    nn.Conv2d(6, 32, 4, 2, 1),
    nn.LeakyReLU(0.2),
    nn.Conv2d(32, 64, 4, 2, 1, bias=False),
    _instance_norm(64),
    nn.LeakyReLU(0.2),
    nn.Conv2d(64, 128, 3, padding=1, bias=False),
    _instance_norm(128),
    nn.LeakyReLU(0.2),
    nn.Conv2d(128, 1, 3, padding=1),
  )


# ---------------------------------------------------------------- style transfer, of any size


class Stylizer(nn.Module):
  def __init__(self):
    super().__init__()
    conv = lambda before, after: nn.Conv2d(before, after, 3, padding=1, bias=False)
    residual = lambda: nn.Sequential(conv(64, 64), _instance_norm(64), nn.ReLU(), conv(64, 64), _instance_norm(64))
    self.first, self.norm1 = conv(12, 32), _instance_norm(32)
    self.shrink, self.norm2 = nn.Conv2d(32, 64, 4, 2, 1, bias=False), _instance_norm(64)
    self.blocks = nn.ModuleList(residual() for _ in range(5))
    self.grow, self.norm3 = nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), _instance_norm(32)
    self.pixels = nn.Conv2d(32, 12, 3, padding=1)

  def forward(self, images):
    x = F.pixel_unshuffle(2 * F.pad(images, (8, 8, 8, 8), 'reflect') - 1, 2)
    x = F.relu(self.norm2(self.shrink(F.relu(self.norm1(self.first(x))))))
    for block in self.blocks:
      x = x + block(x)
    x = self.pixels(F.relu(self.norm3(self.grow(x))))
    return (images.logit(0.02) + F.pixel_shuffle(x, 2)[..., 8:-8, 8:-8]).sigmoid()


class VGG16(nn.Module):
  """Images in [0, 1] -> the last ReLU of each of the first four blocks; with random weights: the time is the same."""

  def __init__(self):
    super().__init__()
    before, blocks = 3, []
    for convolutions, features in ((2, 64), (2, 128), (3, 256), (3, 512)):
      layers = [nn.MaxPool2d(2)] if blocks else []
      for _ in range(convolutions):
        layers += [nn.Conv2d(before, features, 3, padding=1), nn.ReLU()]
        before = features
      blocks.append(nn.Sequential(*layers))
    self.blocks = nn.ModuleList(blocks)
    self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406])[:, None, None])
    self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225])[:, None, None])
    self.requires_grad_(False)

  def forward(self, images):
    x, taps = (images - self.mean) / self.std, []
    for block in self.blocks:
      x = block(x)
      taps.append(x)
    return taps
