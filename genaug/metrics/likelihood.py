"""Bounds on the log likelihood of test images, the amortisation gap, and how many latents or codes are in use."""

import math

import numpy as np

from genaug.metrics import EvalContext, Metric, Scores

_ACTIVE = 0.01  # a latent is active if its posterior mean varies more over the images: Burda et al. 2016, section 5.2


def _mean(values: np.ndarray) -> float:
  return float(values.mean(dtype=np.float64))


def _elbo(run: EvalContext) -> Scores:
  outputs, train = run.outputs(), run.train_outputs()['elbo_nats']
  names = ('elbo_nats', 'log_likelihood_nats', 'kl_nats', 'bits_per_dim')
  return {
    **{f'eval/{name}': _mean(outputs[name]) for name in names},
    'eval/elbo_images': len(outputs['elbo_nats']),
    'eval/elbo_split': run.split,
    'eval/elbo_train_nats': _mean(train),
    'eval/elbo_train_images': len(train),
  }


def _elbo_text(scores: Scores) -> str:
  return (
    f'ELBO {scores["eval/elbo_nats"]:.2f} nats = log-likelihood {scores["eval/log_likelihood_nats"]:.2f}'
    f' - KL {scores["eval/kl_nats"]:.2f}; {scores["eval/bits_per_dim"]:.4f} bits/dim'
    f' [{scores["eval/elbo_images"]:,} images of {scores["eval/elbo_split"]};'
    f' {scores["eval/elbo_train_images"]:,} training images: {scores["eval/elbo_train_nats"]:.2f} nats]'
  )


def _iwae(run: EvalContext) -> Scores:
  """Computes the importance-weighted bound for the first test images only, as it takes thousands of draws of each."""
  bound = run.on_demand('iwae')
  outputs = {name: run.outputs()[name][: len(bound['nats'])] for name in ('elbo_nats', 'bits_per_dim')}
  nats = _mean(bound['nats'])
  bits_tighter = (nats - _mean(outputs['elbo_nats'])) / math.prod(run.test['image'].shape[1:]) / math.log(2)
  return {
    'eval/iwae_nats': nats,
    'eval/iwae_elbo_nats': _mean(outputs['elbo_nats']),
    'eval/iwae_bits_per_dim': _mean(outputs['bits_per_dim']) - bits_tighter,
    'eval/iwae_draws': int(bound['draws'][0]),
    'eval/iwae_images': len(bound['nats']),
    'eval/iwae_split': run.split,
  }


def _iwae_text(scores: Scores) -> str:
  return (
    f'log p(x) at least {scores["eval/iwae_nats"]:.2f} nats, {scores["eval/iwae_bits_per_dim"]:.4f} bits/dim'
    f' [{scores["eval/iwae_draws"]:,} draws of {scores["eval/iwae_images"]:,} images of {scores["eval/iwae_split"]};'
    f' their ELBO {scores["eval/iwae_elbo_nats"]:.2f}]'
  )


def _amortisation(run: EvalContext) -> Scores:
  """Computes the amortisation gap: how much the ELBO rises when each image's posterior is refined.

  If the encoder has memorised the training images, the gap is small for them and large for test images.
  """
  scores: Scores = {}
  for name, elbos in (('', run.on_demand('amortisation')), ('_train', run.train_on_demand('amortisation'))):
    scores[f'eval/encoder{name}_nats'] = _mean(elbos['encoder_nats'])
    scores[f'eval/refined{name}_nats'] = _mean(elbos['refined_nats'])
    scores[f'eval/amortisation_gap{name}_nats'] = _mean(elbos['refined_nats'] - elbos['encoder_nats'])
    scores[f'eval/amortisation{name}_images'] = len(elbos['encoder_nats'])
  return scores | {'eval/amortisation_steps': int(elbos['steps'][0]), 'eval/amortisation_split': run.split}


def _amortisation_text(scores: Scores) -> str:
  gap = lambda name: (
    f'{scores[f"eval/encoder{name}_nats"]:.2f} nats, {scores[f"eval/refined{name}_nats"]:.2f} refined'
    f' (gap {scores[f"eval/amortisation_gap{name}_nats"]:.2f})'
  )
  return (
    f'ELBO {gap("")} [{scores["eval/amortisation_steps"]} gradient steps on the posterior of each of'
    f' {scores["eval/amortisation_images"]:,} images of {scores["eval/amortisation_split"]};'
    f' of {scores["eval/amortisation_train_images"]:,} training images {gap("_train")}]'
  )


def _latents(run: EvalContext) -> Scores:
  means = run.outputs()['posterior_means']
  return {
    'eval/active_units': int((means.var(0, dtype=np.float64) > _ACTIVE).sum()),
    'eval/latents': means.shape[1],
    'eval/latents_images': len(means),
    'eval/latents_split': run.split,
  }


def _latents_text(scores: Scores) -> str:
  active, count = scores['eval/active_units'], scores['eval/latents']
  warning = (
    ' WARNING: the posterior has collapsed, images are decoded without their latents: try vae.kl_warmup_steps'
    ' or vae.free_bits=0.1 (with vae.samples=1), a lower vae.beta or a narrower decoder'
  )
  return (
    f'{active} of {count} latents active [variance of posterior means over {_ACTIVE};'
    f' {scores["eval/latents_images"]:,} images of {scores["eval/latents_split"]}]{"" if active else warning}'
  )


def _codes(run: EvalContext) -> Scores:
  """Counts the codes that occur and computes their perplexity: the number of equally frequent codes of that entropy."""
  codes = run.outputs()['codes']
  shares = np.unique(codes, return_counts=True)[1] / codes.size
  return {
    'eval/codes_used': len(shares),
    'eval/codes_perplexity': float(np.exp(-(shares * np.log(shares)).sum())),
    'eval/codes_images': len(codes),
    'eval/codes_split': run.split,
  }


def _codes_text(scores: Scores) -> str:
  return (
    f'{scores["eval/codes_used"]:,} codes used, perplexity {scores["eval/codes_perplexity"]:,.0f}'
    f' [{scores["eval/codes_images"]:,} images of {scores["eval/codes_split"]}]'
  )


ELBO = Metric(_elbo, 'eval/elbo_nats', 'max', 'elbo_nats', _elbo_text)
IWAE = Metric(_iwae, 'eval/iwae_nats', 'max', 'iwae', _iwae_text)
AMORTISATION = Metric(_amortisation, 'eval/amortisation_gap_nats', 'min', 'amortisation', _amortisation_text)
CODES = Metric(_codes, 'eval/codes_perplexity', 'max', 'codes', _codes_text)
LATENTS = Metric(_latents, 'eval/active_units', 'max', 'posterior_means', _latents_text)
