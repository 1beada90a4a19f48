"""Classification with few labelled and many unlabelled images: the keys of `fixmatch`, besides those of `classify`."""

from ml_collections import ConfigDict

from configs import base
from configs.families import classify


def get_config() -> ConfigDict:
  c = classify.get_config().unlock()
  # fmt: off
  c.task = 'fixmatch'
  c.model.width = 32
  c.optim.lr = 2e-3
  c.data.per_class = 10
  c.data.unlabelled = 4                 # unlabelled images per labelled one in a batch, from all training images that
                                        # data.per_class leaves over; their labels are not read
  c.strong = base.augment_off()         # strong augmentation of unlabelled images; c.augment is the weak augmentation
  for key in ('border', 'fill', 'interpolation', 'one_of', 'some_of'):
    c.strong[key] = c.augment[key]
  c.strong.rand_augment.p = 1.0
  c.strong.cutout.p = 1.0
  c.strong.cutout.size = 0.25
  c.augment.translate.p = 1.0
  c.augment.translate.fraction = 0.125
  c.train.batch_size = 32               # labelled images per step
  c.train.steps = 3000
  c.eval.every = 1000

  c.fixmatch = ConfigDict()
  c.fixmatch.threshold = 0.95           # smallest probability at which a prediction becomes a pseudo-label
  c.fixmatch.weight = 1.0               # weight of the loss on unlabelled images
  c.fixmatch.ema = 0.999                # decay per step of the weight average (EMA)
  # fmt: on
  return c.lock()
