"""Variational autoencoders: the keys of task `vae`."""

from ml_collections import ConfigDict

from configs import base

# What follows the colon in `--config configs/vae_mnist5k.py:ladder`.
VARIANTS = {
  '': {},
  'resnet': {'model.network': 'resnet_vae'},
  'iwae': {'vae.samples': 8, 'vae.gradient': 'doubly_reparameterized'},
  'vamp': {'vae.prior': 'vamp'},
  'ladder': {'model.network': 'ladder_vae', 'vae.kl_warmup_steps': 1000},
  'lossless': {'model.network': 'resnet_vae', 'vae.likelihood': 'logistic_mixture'},  # for experiments.compress
  'restore': {'model.network': 'resnet_vae', 'vae.likelihood': 'gaussian'},  # for experiments.restore
}


def get_config(variant: str = '') -> ConfigDict:
  if variant not in VARIANTS:
    raise ValueError(f'variant = {variant!r}: must be one of {", ".join(VARIANTS)[2:]}, or nothing')
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'vae'
  c.model.network = 'conv_vae'
  c.model.width = 32
  c.model.blocks = 1                    # resnet_vae, ladder_vae: residual blocks at each resolution
  c.model.map_channels = 4              # ladder_vae: of the maps of latents at each resolution
  c.model.z_dim = 32                    # size of the latent vector
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.schedule = 'cosine'
  c.optim.update(base.own_optimizers('encoder', 'decoder'))
  c.eval.metrics = ('elbo', 'latents', 'reconstruction')

  c.vae = ConfigDict()
  c.vae.likelihood = 'bernoulli'        # of pixels drawn from grey values, every time anew: bernoulli, or once:
                                        # bernoulli_static | gaussian | discretized_logistic | logistic_mixture
  c.vae.sigma = 0.0                     # scale of gaussian and discretized_logistic in [0, 1]; 0: one that is learned
  c.vae.prior = 'normal'                # normal | vamp: a mixture of posteriors of
  c.vae.pseudo_inputs = 100             # learned images
  c.vae.beta = 1.0                      # weight of the KL term
  c.vae.kl_warmup_steps = 0             # steps over which the weight grows from 0 to beta
  c.vae.free_bits = 0.0                 # nats of KL, of each latent's batch mean, that cost nothing
  c.vae.samples = 1                     # draws of the posterior an image; more: the importance-weighted bound (IWAE)
  c.vae.gradient = 'reparameterized'    # of that bound, or doubly_reparameterized (DReG), with less variance
  c.vae.eval_samples = 5000             # draws of an image in metric iwae
  c.vae.eval_images = 500               # test images, the first, that it and amortisation are computed of
  # fmt: on
  c.update_from_flattened_dict(VARIANTS[variant])
  return c.lock()
