"""Variational autoencoders: the keys of task `vae`."""

from ml_collections import ConfigDict

from configs import base

# Variants, named after the colon: `--config configs/vae_mnist5k.py:ladder`.
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
  c.model.map_channels = 4              # ladder_vae: channels of the latent maps at each resolution
  c.model.z_dim = 32                    # size of the latent vector
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.schedule = 'cosine'
  c.optim.update(base.optimizer_overrides('encoder', 'decoder'))
  c.eval.metrics = ('elbo', 'latents', 'reconstruction')

  c.vae = ConfigDict()
  c.vae.likelihood = 'bernoulli'        # p(x | z): bernoulli (pixels binarised anew at every step) | bernoulli_static
                                        # (binarised once) | gaussian | discretized_logistic | logistic_mixture
  c.vae.sigma = 0.0                     # scale of gaussian and discretized_logistic, where white is 1; 0 learns it
  c.vae.prior = 'normal'                # normal | vamp (VampPrior: a mixture of posteriors)
  c.vae.pseudo_inputs = 100             # vamp: number of learned images whose posteriors are mixed
  c.vae.beta = 1.0                      # weight of the KL term
  c.vae.kl_warmup_steps = 0             # steps over which that weight grows linearly from 0 to beta
  c.vae.free_bits = 0.0                 # KL in nats that each latent may have, in the batch mean, without a penalty
  c.vae.samples = 1                     # posterior draws per image; more than 1 is the importance-weighted bound (IWAE)
  c.vae.gradient = 'reparameterized'    # its gradient: reparameterized | doubly_reparameterized (DReG, less variance)
  c.vae.eval_samples = 5000             # draws per image in metric iwae
  c.vae.eval_images = 500               # first test images, on which metrics iwae and amortisation are computed
  # fmt: on
  c.update_from_flattened_dict(VARIANTS[variant])
  return c.lock()
