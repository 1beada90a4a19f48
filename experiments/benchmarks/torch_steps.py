"""PyTorch's side of experiments.bench step: losses, optimisers and order of updates of genaug.tasks, on a fixed batch.

make_NETWORK(threads, compiled) returns run(steps), which returns the last losses; `run.report` counts the parameters.
Hyper-parameters that follow a schedule stay at their first value.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from experiments.benchmarks import torch_networks as networks
from experiments.benchmarks import torch_translators as translators

_BATCH = 64
_EMA = 0.999

Losses = tuple[torch.Tensor, ...]


def _prepared(threads: int, compiled: bool, *modules: nn.Module) -> list[nn.Module]:
  torch.set_num_threads(threads)
  modules = [module.to(memory_format=torch.channels_last) for module in modules]
  return [torch.compile(module) for module in modules] if compiled else modules


def _images(*shape: int, count: int = _BATCH) -> torch.Tensor:
  return (torch.rand(count, *shape) * 2 - 1).contiguous(memory_format=torch.channels_last)


def _moving_average(module: nn.Module) -> Callable[[], None]:
  """Returns update(), a step of the moving average of weights and batch norm statistics."""
  latest = [value.detach() for value in (*module.parameters(), *module.buffers()) if value.is_floating_point()]
  average = [value.clone() for value in latest]
  return lambda: torch._foreach_lerp_(average, latest, 1 - _EMA)


def _program(step: Callable[[int], Losses], compiled: bool, **modules: nn.Module) -> Callable[[int], Losses]:
  done = 0

  def run(steps: int) -> Losses:
    nonlocal done
    for _ in range(steps):
      losses = step(done)
      done += 1
    return losses

  run.report = {role: sum(value.numel() for value in module.parameters()) for role, module in modules.items()}
  if compiled:
    run(1)  # fails now if it can't be compiled
  return run


# ---------------------------------------------------------------- gan


def _adversarial(
  generator: nn.Module,
  discriminator: nn.Module,
  threads: int,
  compiled: bool,
  shape: tuple[int, int, int],
  z_dim: int,
  losses: tuple[Callable, Callable],  # of discriminator and generator: (real logits, fake logits) -> losses
  adam: tuple[float, tuple[float, float]],
  relativistic: bool = False,  # whether the generator's loss takes real logits
  penalty_every: int = 0,  # steps between penalties R1 and R2, each of weight 1; 0 is none
  together: bool = False,  # real and generated images in one pass: compiled spectral norm can't do two before backward
) -> Callable[[int], Losses]:
  generator, discriminator = _prepared(threads, compiled, generator, discriminator)
  g_opt, d_opt = (torch.optim.Adam(net.parameters(), *adam, fused=True) for net in (generator, discriminator))
  average, real = _moving_average(generator), _images(*shape)

  def step(i: int) -> Losses:
    fake = generator(torch.randn(_BATCH, z_dim))
    penalised = bool(penalty_every) and i % penalty_every == 0
    seen = [images.detach().requires_grad_(penalised) for images in (real, fake)]
    logits = discriminator(torch.cat(seen)).chunk(2) if together else [discriminator(images) for images in seen]
    d_loss = losses[0](*logits).mean()
    if penalised:
      gradients = torch.autograd.grad([values.sum() for values in logits], seen, create_graph=True)
      d_loss = d_loss + penalty_every * sum(0.5 * gradient.square().sum((1, 2, 3)).mean() for gradient in gradients)
    d_opt.zero_grad()
    d_loss.backward()
    d_opt.step()

    discriminator.requires_grad_(False)  # its gradient is not needed
    g_loss = losses[1](discriminator(real) if relativistic else None, discriminator(fake)).mean()
    g_opt.zero_grad()
    g_loss.backward()
    g_opt.step()
    discriminator.requires_grad_(True)
    average()
    return d_loss.detach(), g_loss.detach()

  return _program(step, compiled, generator=generator, discriminator=discriminator)


def make_dcgan(threads: int, compiled: bool) -> Callable[[int], Losses]:
  losses = (lambda real, fake: F.softplus(-real) + F.softplus(fake)), (lambda real, fake: F.softplus(-fake))
  players = networks.dcgan_generator(), networks.dcgan_discriminator()
  return _adversarial(*players, threads, compiled, (1, 28, 28), 100, losses, (8e-4, (0.5, 0.999)))


def make_r3(threads: int, compiled: bool) -> Callable[[int], Losses]:
  losses = (lambda real, fake: F.softplus(fake - real)), (lambda real, fake: F.softplus(real - fake))
  players, adam = (networks.R3Generator(), networks.R3Discriminator()), (8e-4, (0.0, 0.9))
  return _adversarial(*players, threads, compiled, (1, 28, 28), 64, losses, adam, relativistic=True, penalty_every=4)


def make_resnet(threads: int, compiled: bool) -> Callable[[int], Losses]:
  losses = (lambda real, fake: F.relu(1 - real) + F.relu(1 + fake)), (lambda real, fake: -fake)
  players = networks.resnet_generator(), networks.ResnetDiscriminator()
  return _adversarial(*players, threads, compiled, (3, 32, 32), 128, losses, (2e-4, (0.0, 0.9)), together=True)


# ---------------------------------------------------------------- flow matching


def make_unet(threads: int, compiled: bool) -> Callable[[int], Losses]:
  (network,) = _prepared(threads, compiled, networks.UNet())
  optimizer = torch.optim.Adam(network.parameters(), 2e-3, (0.9, 0.999), fused=True)
  average, images, labels = _moving_average(network), _images(1, 28, 28), torch.arange(_BATCH) % 10

  def step(i: int) -> Losses:
    t, noise = torch.randn(_BATCH).sigmoid(), torch.randn_like(images)
    x = torch.lerp(noise, images, t[:, None, None, None])
    kept = torch.where(torch.rand(_BATCH) < 0.1, 10, labels)
    error = ((network(x, t, kept) - images) ** 2).mean((1, 2, 3))
    loss = (error / (1 - t).clamp_min(0.05) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    average()
    return (loss.detach(),)

  return _program(step, compiled, denoiser=network)


# ---------------------------------------------------------------- variational autoencoders


def negative_elbo(encoder: nn.Module, decoder: nn.Module, x: torch.Tensor, shapes: tuple) -> torch.Tensor:
  """Returns the negative ELBO of each binary image, in nats, by one draw of latents of these shapes."""
  logits, kl = decoder([torch.randn(len(x), *shape) for shape in shapes], encoder(x))
  return kl - (x * logits - F.softplus(logits)).sum((1, 2, 3))


def _vae(encoder: nn.Module, decoder: nn.Module, threads: int, compiled: bool, shapes: tuple):
  encoder, decoder = _prepared(threads, compiled, encoder, decoder)
  optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3, (0.9, 0.999), fused=True)
  images = _images(1, 28, 28).add(1).div(2)

  def step(i: int) -> Losses:
    loss = negative_elbo(encoder, decoder, torch.bernoulli(images), shapes).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return (loss.detach(),)

  return _program(step, compiled, encoder=encoder, decoder=decoder)


def make_conv_vae(threads: int, compiled: bool) -> Callable[[int], Losses]:
  return _vae(networks.VaeEncoder(0), networks.VaeDecoder(0), threads, compiled, ((32,),))


def make_resnet_vae(threads: int, compiled: bool) -> Callable[[int], Losses]:
  return _vae(networks.VaeEncoder(1), networks.VaeDecoder(1), threads, compiled, ((32,),))


def make_ladder_vae(threads: int, compiled: bool) -> Callable[[int], Losses]:
  shapes = ((32,), (4, 7, 7), (4, 14, 14))
  return _vae(networks.VaeEncoder(1), networks.LadderDecoder(), threads, compiled, shapes)


# ---------------------------------------------------------------- from image to image


def make_edsr(threads: int, compiled: bool) -> Callable[[int], Losses]:
  """Trains on fixed pairs; the step of genaug also crops patches and downscales them."""
  (network,) = _prepared(threads, compiled, translators.Upscaler())
  optimizer = torch.optim.Adam(network.parameters(), 1e-3, (0.9, 0.999), fused=True)
  average, images, small = _moving_average(network), _images(3, 48, 48, count=16), _images(3, 24, 24, count=16)

  def step(i: int) -> Losses:
    loss = F.l1_loss(network(small), images)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    average()
    return (loss.detach(),)

  return _program(step, compiled, upscaler=network)


def make_unet_translator(threads: int, compiled: bool) -> Callable[[int], Losses]:
  players = translators.UNetTranslator(), translators.patch_discriminator()
  translator, discriminator = _prepared(threads, compiled, *players)
  g_opt, d_opt = (torch.optim.Adam(net.parameters(), 5e-4, (0.5, 0.999), fused=True) for net in players)
  average, image, target = _moving_average(translator), _images(3, 64, 64, count=16), _images(3, 64, 64, count=16)
  judged = lambda images: discriminator(torch.cat([image, images], 1))

  def step(i: int) -> Losses:
    fake = translator(image)
    d_loss = (judged(target) - 1).square().mean() + judged(fake.detach()).square().mean()
    d_opt.zero_grad()
    d_loss.backward()

    discriminator.requires_grad_(False)
    g_loss = (judged(fake) - 1).square().mean() + 100 * F.l1_loss(fake, target)
    g_opt.zero_grad()
    g_loss.backward()
    discriminator.requires_grad_(True)
    for optimizer in (d_opt, g_opt):  # both networks are updated at once
      optimizer.step()
    average()
    return d_loss.detach(), g_loss.detach()

  return _program(step, compiled, translator=translator, discriminator=discriminator)


def _gram(x: torch.Tensor) -> torch.Tensor:
  flat = x.flatten(2)
  return flat @ flat.mT / x[0].numel()


def make_stylizer(threads: int, compiled: bool) -> Callable[[int], Losses]:
  """Trains on a single style."""
  stylizer, vgg = _prepared(threads, compiled, translators.Stylizer(), translators.VGG16())
  optimizer = torch.optim.Adam(stylizer.parameters(), 1e-3, (0.9, 0.999), fused=True)
  images = _images(3, 128, 128, count=8).add(1).div(2)
  with torch.no_grad():
    grams = [_gram(x) for x in vgg(_images(3, 128, 128, count=1))]

  def step(i: int) -> Losses:
    with torch.no_grad():
      content = vgg(images)[1]
    made = stylizer(images)
    taps = vgg(made)
    style = sum((_gram(x) - gram).square().sum((1, 2)).mean() for x, gram in zip(taps, grams, strict=True))
    variation = sum(made.diff(dim=axis).square().mean() for axis in (2, 3))
    loss = (taps[1] - content).square().mean() + style + 10 * variation
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return (loss.detach(),)

  return _program(step, compiled, stylizer=stylizer)
