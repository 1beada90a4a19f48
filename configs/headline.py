"""The few-shot study: does augmentation help, does a generator help, do both, and by how much with few images?

python -m experiments.reproduce headline --quick    # k = 10 and 50, a small CNN; one Ray task per core with
                                                    # --address=local --config.cpus_per_cell=1
python -m experiments.reproduce headline --full     # k = 10, 20, 50 and 100, a wide ResNet: for a GPU

Every row trains the same classifier for equally many steps on the same k images per class, and tests it on real ones.
Rows with unlabelled=True also see all other training images, without their labels, and train for more steps (see
c.unlabelled). To add a row, put it into `rows` and its name into `order`; --dry-run says how long it all would take.
"""

from ml_collections import ConfigDict

from configs import base
from configs.families import classify, fixmatch, flow, gan, vae

CLASSIC = {
  'translate': {'p': 1.0, 'fraction': 0.08},
  'rotate': {'p': 1.0, 'degrees': 10.0},
  'zoom': {'p': 1.0, 'limit': 0.1},
}


def row(
  title: str, generator: str = '', share: float = 0.5, authentic: bool = False, unlabelled: bool = False, **augment
) -> ConfigDict:
  """Returns a row of the table.

  `generator` is a key of c.generators; about `share` of the training images are then generated. `authentic` leaves out
  those that AuthPct counts as copies of training images. `augment` overrides c.classifier.augment or, if `unlabelled`,
  c.unlabelled.augment.
  """
  generated = {'generator': generator, 'share': share if generator else 0.0, 'authentic': authentic}
  return ConfigDict({'title': title, **generated, 'unlabelled': unlabelled, 'augment': augment})


def get_config(size='quick'):
  quick = {'quick': True, 'full': False}[size]
  c = ConfigDict()
  c.per_class = (10, 50) if quick else (10, 20, 50, 100)
  c.first_seed = 0
  c.seeds = 5  # a seed chooses images, initialisation, order and augmentation; every row has the same seeds

  c.classifier = classify.get_config()
  if not quick:
    c.classifier.model.network = 'wrn16_4'
    c.classifier.train.steps = 4000
  c.unlabelled = fixmatch.get_config()  # its network is replaced by the classifier's
  c.unlabelled.train.steps = 1500 if quick else 20_000

  # The learning rate is the one with the best mean accuracy of rows `none` and `classic`, by cross-validation on k
  # images per class that tuning_seed draws from the training split; a row may draw some of them as well. A single value
  # is used without cross-validation.
  c.lr = (3e-4, 1e-3, 3e-3)
  c.tuning_seed = 1000
  c.folds = 3
  c.skip_small_classes = False  # leave out classes that have fewer training images than there are folds
  c.cpus_per_cell = -1.0  # with --address: CPU cores of a task; -1 is all of a node, divided by its GPUs
  c.gpus_per_cell = -1.0  # GPUs of a task, or a fraction of one; -1 is one if there are any
  c.data = ConfigDict({'skip_broken': False, 'load_truncated': False, 'bits': 0})  # for --images, as in configs/base.py

  # Each is trained on the k images per class and samples `candidates` images per class. The share `kept` of them is
  # used: those of which the classifier of row `none`, trained on the same k images, is most confident.
  c.generators = ConfigDict()
  c.generators.vae = _vae(1500 if quick else 10_000)
  c.generators.gan = _gan(1500 if quick else 20_000)
  c.generators.gan_diffaug = _gan(1500 if quick else 20_000)
  c.generators.gan_diffaug.gan.d_augment = 'diff_augment'
  c.generators.flow = _generator(flow.augmented(), 500 if quick else 20_000)
  c.candidates = 200 if quick else 2000
  c.kept = 0.5

  c.rows = ConfigDict()
  c.rows.none = row('no augmentation')
  c.rows.flip = row('flip', hflip={'p': 0.5})
  c.rows.classic = row('classic: shift, rotate, scale', **CLASSIC)
  c.rows.cutout = row('cutout', cutout={'p': 1.0})
  c.rows.rand_augment = row('RandAugment', rand_augment={'p': 1.0})
  c.rows.trivial_augment = row('TrivialAugment', trivial_augment_wide={'p': 1.0})
  c.rows.mixup = row('mixup', mixup={'p': 1.0})
  c.rows.cutmix = row('CutMix', cutmix={'p': 1.0})
  c.rows.rand_augment_mixup = row('RandAugment + mixup', rand_augment={'p': 1.0}, mixup={'p': 1.0})
  c.rows.rand_augment_cutmix = row('RandAugment + CutMix', rand_augment={'p': 1.0}, cutmix={'p': 1.0})
  c.rows.vae = row('VAE', 'vae')
  c.rows.gan = row('GAN', 'gan')
  c.rows.gan_diffaug = row('GAN + DiffAugment', 'gan_diffaug')
  c.rows.vae_classic = row('VAE, then classic', 'vae', **CLASSIC)
  c.rows.gan_classic = row('GAN, then classic', 'gan', **CLASSIC)
  c.rows.flow = row('flow matching', 'flow')
  c.rows.flow_classic = row('flow matching, then classic', 'flow', **CLASSIC)
  c.rows.flow_authentic = row('flow matching without copies', 'flow', authentic=True)
  c.rows.fixmatch = row('FixMatch, all other images unlabelled', unlabelled=True)
  c.rows.synthetic_only = row('GAN + DiffAugment, no real image', 'gan_diffaug', share=1.0)
  c.order = (
    'none',
    'flip',
    'classic',
    'cutout',
    'rand_augment',
    'trivial_augment',
    'mixup',
    'cutmix',
    'rand_augment_mixup',
    'rand_augment_cutmix',
    'vae',
    'gan',
    'gan_diffaug',
    'vae_classic',
    'gan_classic',
    'synthetic_only',
    'fixmatch',
    *(() if quick else ('flow', 'flow_classic', 'flow_authentic')),  # flow matching is the slowest generator on a CPU
  )
  return c.lock()


def sweep_confirmation(sweep: dict) -> tuple[ConfigDict, ConfigDict]:
  """Returns (table config, data) for rows `none`, `classic` and the best trial of a sweep.json, with fresh seeds."""
  c = get_config().unlock()
  c.classifier = ConfigDict(sweep['config'])
  data = c.classifier.data
  data.update({'test_split': base.get_config().data.test_split, 'validation': 0, 'fold': 0})
  c.per_class, c.first_seed, c.lr = (data.per_class,), 100, (c.classifier.optim.lr,)
  operations = {}
  for key, value in next(trial for trial in sweep['trials'] if trial['id'] == sweep['best'])['overrides'].items():
    _, operation, strength = key.split('.')
    operations.setdefault(operation, {})[strength] = value
  c.rows = ConfigDict({name: c.rows[name] for name in ('none', 'classic')})
  c.rows.found = row('found by the sweep', **operations)
  c.order, c.generators = ('none', 'classic', 'found'), ConfigDict()
  return c.lock(), data


def _generator(c: ConfigDict, steps: int) -> ConfigDict:
  c.model.conditional = True
  c.train.steps = steps
  c.eval.metrics = ()
  return c


def _gan(steps: int) -> ConfigDict:
  c = _generator(gan.get_config(), steps)
  c.model.width = 32
  c.model.z_dim = 64
  c.optim.lr = 5e-4
  return c


def _vae(steps: int) -> ConfigDict:
  c = _generator(vae.get_config(), steps)
  c.model.width = 16
  c.model.z_dim = 16
  c.vae.likelihood = 'gaussian'
  return c
