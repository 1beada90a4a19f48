"""Tables that compare many trained models, for experiments.compare: which generator to choose?

python -m experiments.compare --config configs/comparisons.py:few_images --output experiments/results

few_images: 100, 200 and 1,000 images of Fashion-MNIST, and 217 crops of 200 photographs (experiments.crop_boxes). No
row is class-conditional; a run takes 3 to 25 minutes on one or two CPU cores, and R3GAN is stopped while it still
improves.
equal_time: MNIST-5k and Fashion-MNIST, numbers of steps that took 5 and 15 minutes on two free CPU cores (run beside
other work and on several machines, hence other minutes). stacked_mnist: how many of 1,000 modes does a GAN find with
each loss? vaes: bounds and samples of every kind of VAE. augmented_density: does augmentation raise the ELBO that a VAE
of few images gives to unseen ones? few_labels: what do unlabelled images add to 10 labels per class? linear_probe: how
well does a linear classifier tell classes apart by the features of unconditional generators? translation: with pairs
and without, scored on held-out pairs; and pix2pix's paper's loss against least squares on few pairs. style_norms: does
style transfer learn faster with instance norm than with batch norm? To compare a model of your own, add a row to one of
the functions below.
"""

from ml_collections import ConfigDict

from configs import stacked_mnist, style_own_images, translate_emoji64, translate_own_images
from configs.families import classify, fixmatch, flow, fsq, gan, vae


def get_config(study: str = 'few_images') -> ConfigDict:
  if study not in STUDIES:
    raise ValueError(f'study = {study!r}: must be one of {", ".join(STUDIES)}')
  c = ConfigDict({'tables': {}})
  studies = STUDIES[study]()
  for name, (title, seeds, rows) in studies.items():
    rows = {row: {'title': title_of_row, 'config': config} for row, (title_of_row, config) in rows.items()}
    c.tables[name] = {'title': title, 'seeds': seeds, 'order': tuple(rows), 'rows': rows}
  c.order = tuple(studies)
  return c.lock()


def _few_images() -> dict:
  tables = {}
  for count in (100, 200, 1000):
    rows = _small(gan_steps=5000, r3_steps=1200, flow_steps=1000)
    for _, c in rows.values():
      c.update_from_flattened_dict({'data.name': 'fashion_mnist', 'data.per_class': count // 10})
    tables[f'fashion_mnist_{count}'] = (f'{count:,} images of Fashion-MNIST', 3 if count == 200 else 1, rows)
  rows = _small(gan_steps=2000, r3_steps=300, flow_steps=1200)
  for _, c in rows.values():
    c.data.update({'name': 'image_folder', 'folder': 'photos/raccoons'})
    c.augment.hflip.p = 0.5
    if c.task == 'gan':
      c.model.width = 16  # four times the pixels of Fashion-MNIST
  return tables | {'raccoons': ('217 crops of 200 photographs of raccoons, 64 px', 1, rows)}


def _small(gan_steps: int, r3_steps: int, flow_steps: int) -> dict:
  """Returns the rows of the tables of few images, {name: (title, config)}."""
  dcgan = lambda variant='': _evaluated(gan.dcgan(variant), gan_steps)
  rows = {
    'dcgan': ('DCGAN', dcgan()),
    'dcgan_diffaug': ('DCGAN + DiffAugment', dcgan('diffaug')),
    'dcgan_ada': ('DCGAN + ADA', dcgan('ada')),
    'relativistic_diffaug': ('DCGAN, relativistic, R1 + R2 + DiffAugment', dcgan('diffaug')),
    'r3_diffaug': ('R3GAN + DiffAugment', _evaluated(gan.small_r3('diffaug'), r3_steps)),
    'flow': ('flow matching', _evaluated(flow.get_config(), flow_steps)),
    'flow_augment': ('flow matching + non-leaky augmentation + dropout', _evaluated(flow.augmented(), flow_steps)),
  }
  rows['relativistic_diffaug'][1].update_from_flattened_dict(gan.LOSSES['r3'])
  for _, c in rows.values():
    c.model.conditional = False
  return rows


def _equal_time() -> dict:
  tables = {}
  for data in ('mnist5k', 'fashion_mnist'):
    for minutes in (5, 15):
      rows = {
        'dcgan': ('DCGAN', _evaluated(gan.dcgan(), 1800 * minutes)),
        'r3': ('R3GAN', _evaluated(gan.small_r3(), 450 * minutes)),
        'flow': ('flow matching', _evaluated(flow.get_config(), 375 * minutes)),
      }
      for _, c in rows.values():
        c.data.name, c.model.conditional = data, True
        if data == 'fashion_mnist':
          c.eval.samples, c.eval.every = 10000, c.train.steps
      tables[f'{data}_{minutes}_minutes'] = (f'{data}, {minutes} minutes on two cores', 3, rows)
  return tables


def _stacked_mnist() -> dict:
  titles = {
    'dcgan': 'non-saturating',
    'sngan': 'hinge, spectral norm',
    'wgan_gp': 'Wasserstein, gradient penalty, one critic step',
    'r3': 'relativistic, R1 + R2',
  }
  rows = {row: (title, stacked_mnist.get_config(row)) for row, title in titles.items()}
  return {'stacked_mnist': ('stacked MNIST: modes of 1,000', 1, rows)}


def _vaes() -> dict:
  kinds = {
    'conv': ('convolutional', vae.get_config()),
    'resnet': ('residual', vae.get_config('resnet')),
    'iwae': ('convolutional, IWAE of 8 draws, DReG', vae.get_config('iwae')),
    'vamp': ('convolutional, VampPrior', vae.get_config('vamp')),
    'ladder': ('ladder of three levels', vae.get_config('ladder')),
    'fsq': ('FSQ, transformer', fsq.get_config()),
  }
  tables = {}
  for data in ('mnist5k', 'fashion_mnist'):
    rows = {}
    for name, (title, kind) in kinds.items():
      c = _evaluated(kind.copy_and_resolve_references(), 2000)
      c.data.name, c.data.train_split, c.model.width, c.eval.every = data, 'train[:4000]', 16, 2000
      bounds = ('elbo', 'codes') if name == 'fsq' else ('elbo', 'iwae', 'latents')
      c.eval.metrics = (*bounds, 'distances', 'memorisation')
      if name != 'fsq':
        c.vae.eval_images = 100
      rows[name] = (title, c)
    tables[f'vaes_{data}'] = (f'VAEs of 4,000 dynamically binarised images: {data}', 3, rows)
  return tables


def _augmented_density() -> dict:
  rows = {}
  for count in (4000, 400, 80):
    for name, augmented in (('', False), (' + augmentation', True)):
      c = vae.get_config()
      c.data.per_class = 0 if count == 4000 else count // 10
      c.model.width, c.train.steps, c.eval.every, c.eval.metrics = 16, 3000, 500, ('elbo',)
      c.train.update({'snapshot_every': 3000, 'checkpoint_every': 3000})
      if augmented:
        c.augment.update_from_flattened_dict(_MOVES)
      rows[f'{count}{"_augmented" if augmented else ""}'] = (f'{count:,} images{name}', c)
  return {'augmented_density': ('A convolutional VAE of MNIST-5k, unaugmented test images', 3, rows)}


def _few_labels() -> dict:
  tables = {}
  for data in ('mnist5k', 'fashion_mnist'):
    kinds = {
      'none': ('labelled images alone', classify.get_config()),
      'rand_augment': ('labelled images alone, RandAugment', classify.get_config()),
      'rand_augment_long': ("labelled images alone, RandAugment, FixMatch's steps", classify.get_config()),
      'fixmatch': ('FixMatch: all others without labels', fixmatch.get_config()),
    }
    kinds['rand_augment'][1].augment.rand_augment.p = 1.0
    kinds['rand_augment_long'][1].augment.rand_augment.p = 1.0
    kinds['rand_augment_long'][1].train.steps = kinds['fixmatch'][1].train.steps
    for name, (_, c) in kinds.items():
      c.data.name, c.data.per_class, c.model.width = data, 10, 32
      if data == 'fashion_mnist' and name != 'none':  # digits may not be mirrored
        c.augment.hflip.p = 0.5
        if 'strong' in c:
          c.strong.hflip.p = 0.5
      c.train.update({'snapshot_every': c.train.steps, 'checkpoint_every': c.train.steps})
    tables[f'few_labels_{data}'] = (f'{data}: 10 labels a class', 5, kinds)
  return tables


def _linear_probe() -> dict:
  kinds = {
    'vae': ('VAE, images binarised at random', vae.get_config(), 2000),
    'dcgan': ('DCGAN, batch norm of test batches', gan.dcgan(), 4000),
    'r3': ('R3GAN', gan.small_r3(), 1000),
    'flow': ('flow matching', flow.get_config(), 1000),
  }
  tables = {}
  for data in ('mnist5k', 'fashion_mnist'):
    rows = {}
    for name, (title, kind, steps) in kinds.items():
      c = _evaluated(kind.copy_and_resolve_references(), steps)
      c.data.update({'name': data, 'train_split': 'train[:4000]'})
      c.model.conditional, c.eval.metrics = False, ('linear_probe',)
      rows[name] = (title, c)
    tables[f'linear_probe_{data}'] = (f'{data}: 10 labels a class, 4,000 images without', 1, rows)
  return tables


def _translation() -> dict:
  rows = {}
  for method, (title, steps) in {
    'pix2pix': ('pix2pix, of pairs', 32000),
    'cut': ('CUT', 4000),
    'cyclegan': ('CycleGAN, with identity loss', 800),
  }.items():
    rows[method] = (title, _translated(translate_emoji64.get_config(method), steps))
  facades = {}
  for loss, title in (('non_saturating', "pix2pix with its paper's loss"), ('least_squares', 'pix2pix, least squares')):
    c = _translated(translate_own_images.get_config(), 8000)
    c.data.folder, c.translation.loss = 'photos/facades_labels', loss
    facades[f'pix2pix_{loss}'] = (title, c)
  return {
    'translation_emoji64': ("Google's emoji to Twitter's, 371 held-out pairs, 64 px", 1, rows),
    'translation_facades': ('Labels of 400 facades to photographs, 106 held-out pairs, 64 px', 1, facades),
  }


def _translated(c: ConfigDict, steps: int) -> ConfigDict:
  c.train.update({'batch_size': 4, 'steps': steps, 'snapshot_every': 1000, 'checkpoint_every': 500})
  c.eval.every = steps
  return c


def _style_norms() -> dict:
  rows = {}
  for norm in ('instance', 'batch'):
    c = style_own_images.get_config()
    c.data.folder, c.model.norm = 'photos/bsds_train', norm
    c.style.images = tuple(f'photos/styles/{name}.jpg' for name in ('candy', 'mosaic', 'udnie'))
    c.train.update({'batch_size': 4, 'steps': 500, 'snapshot_every': 500, 'checkpoint_every': 500})
    c.eval.every = 100
    rows[norm] = (f'{norm} norm', c)
  return {'style_norms': ('Three styles, 160 photographs of BSDS500, 128 px', 1, rows)}


def _evaluated(c: ConfigDict, steps: int) -> ConfigDict:
  """Sets the steps, and three evaluations: the last one counts, whichever checkpoint is best. Returns the config."""
  c.train.steps = steps
  c.train.update({'snapshot_every': steps, 'checkpoint_every': steps})
  c.eval.update({'metrics': ('distances', 'coverage', 'memorisation'), 'every': -(-steps // 3), 'samples': 1000})
  return c


_MOVES = {
  'rotate.p': 0.5,
  'rotate.degrees': 10.0,
  'translate.p': 0.5,
  'translate.fraction': 0.05,
  'zoom.p': 0.5,
  'zoom.limit': 0.1,
}
STUDIES = {
  'few_images': _few_images,
  'equal_time': _equal_time,
  'stacked_mnist': _stacked_mnist,
  'vaes': _vaes,
  'augmented_density': _augmented_density,
  'few_labels': _few_labels,
  'linear_probe': _linear_probe,
  'translation': _translation,
  'style_norms': _style_norms,
}
