"""Every key an experiment has. Child configs override some; a key that is not here does not exist."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  # fmt: off
  c = ConfigDict()
  c.task = 'gan'                        # gan | vae
  c.seed = 0                            # of initialisation, batches, augmentation and latents
  c.dtype = 'float32'                   # networks compute in float32 | bfloat16; parameters stay float32

  c.data = ConfigDict()
  c.data.name = 'mnist5k'               # mnist5k | fashion_mnist | emoji64/google | emoji64/twitter | image_folder
                                        # or any name of TFDS
  c.data.train_split = 'train'          # TFDS split; slices such as train[:1000] are fine
  c.data.test_split = 'test'            # TFDS split the evaluation compares with
  c.data.folder = ''                    # image_folder only: directory of class/file.png
  c.data.image_size = 64                # image_folder only: side in pixels, images are cropped square and resized
  c.data.channels = 3                   # image_folder only: 1 (grey) | 3 (RGB)
  c.data.test_fraction = 0.2            # image_folder only: share of each class held out
  c.data.device_mib = 512               # splits up to this size live on the accelerator, larger ones are streamed

  c.augment = ConfigDict()              # of training images, in the order colour, moves, halves, cutout
  c.augment.hflip = 0.0                 # probability of mirroring left-right
  c.augment.vflip = 0.0                 # probability of mirroring top-bottom
  c.augment.transpose = 0.0             # probability of mirroring about the main diagonal
  c.augment.antitranspose = 0.0         # probability of mirroring about the other diagonal
  c.augment.rotate = 0.0                # degrees; angle uniform in [-rotate, rotate]
  c.augment.translate = 0.0             # fraction of the side; dx and dy uniform in [-translate, translate]
  c.augment.scale = 0.0                 # zoom log-uniform in [1 / (1 + scale), 1 + scale]
  c.augment.tiles = (1, 1)              # rows, columns: zoom into one random tile of the grid; (1, 1) is off
  c.augment.halves = 0.0                # probability of keeping one random diagonal half only
  c.augment.brightness = 0.0            # factor uniform in [1 - brightness, 1 + brightness]
  c.augment.contrast = 0.0              # factor uniform in [1 - contrast, 1 + contrast]
  c.augment.saturation = 0.0            # factor uniform in [1 - saturation, 1 + saturation]
  c.augment.cutout = 0.0                # side of a hidden square, fraction of the image side; 0 is off
  c.augment.border = 'constant'         # beyond the frame: constant | edge | reflect
  c.augment.fill = 0.0                  # of constant borders, hidden halves and cutout; in [0, 1]
  c.augment.interpolation = 'bilinear'  # bilinear | nearest

  c.model = ConfigDict()
  c.model.width = 64                    # channels of the widest-resolution layer; doubles with every halving
  c.model.z_dim = 100                   # size of the latent vector
  c.model.z_prior = 'normal'            # gan only: normal | uniform (in -1..1)
  c.model.conditional = False           # tell the networks the class label

  c.gan = ConfigDict()
  c.gan.loss = 'non_saturating'         # minimax | non_saturating | least_squares
  c.gan.ema = 0.999                     # decay of the averaged generator, per step

  c.vae = ConfigDict()
  c.vae.likelihood = 'bernoulli'        # bernoulli (dynamically binarised) | gaussian | discretized_logistic
  c.vae.beta = 1.0                      # weight of the KL term
  c.vae.kl_warmup_steps = 0             # steps over which the weight grows from 0 to beta

  c.optim = ConfigDict()                # Adam
  c.optim.lr = 2e-4
  c.optim.b1 = 0.5
  c.optim.b2 = 0.999
  c.optim.schedule = 'constant'         # constant | cosine (to zero at the last step)

  c.train = ConfigDict()
  c.train.steps = 4000                  # optimiser steps
  c.train.batch_size = 64               # images a step, over all devices of all hosts
  c.train.steps_per_call = 10           # steps per dispatch on GPU and TPU; on CPU always 1 (a scan is slow there)
  c.train.log_every = 50                # steps between lines in metrics.jsonl
  c.train.snapshot_every = 500          # steps between sample grids
  c.train.checkpoint_every = 500        # steps between checkpoints
  c.train.checkpoints_kept = 2          # newest ones kept, beside the best

  c.eval = ConfigDict()
  c.eval.metrics = ('distances',)       # any of: distances (FD and KID), elbo (vae only); () is none
  c.eval.every = 2000                   # steps between evaluations; always at the end
  c.eval.samples = 10_000               # generated images
  c.eval.batch_size = 250               # images a device computes at once
  return c.lock()
