"""The keys that every experiment has; configs/families/ adds those of one task, a config sets some of them.

A key that is in neither does not exist.
"""

from ml_collections import ConfigDict, FieldReference


def number_or_pair(value: float | None) -> FieldReference:
  """A field that takes a number or a pair of two, also on the command line: --config.optim.lr="(2e-4, 5e-5)"."""
  return FieldReference(value, field_type=object)


def op(**strengths) -> ConfigDict:
  """An operation of c.augment, off: the probability `p` is the switch."""
  return ConfigDict({'p': 0.0, **strengths})


def get_config() -> ConfigDict:
  # fmt: off
  c = ConfigDict()
  c.task = ''                           # set by configs/families: gan | vae | classify
  c.seed = 0                            # of initialisation, batches, augmentation and latents
  c.dtype = 'float32'                   # networks compute in float32 | bfloat16; parameters stay float32

  c.data = ConfigDict()
  c.data.name = 'mnist5k'               # mnist5k | fashion_mnist | emoji64/google | emoji64/twitter | image_folder
                                        # or any name of TFDS
  c.data.train_split = 'train'          # TFDS split; slices such as train[:1000] are fine
  c.data.test_split = 'test'            # TFDS split the evaluation compares with; '' is none: the training images again
  c.data.per_class = 0                  # training images of each class, drawn by subset_seed; 0 is all
  c.data.subset_seed = 0                # which images those are; independent of seed
  c.data.validation = 0                 # of these, images of each class that are held out and stand in for the test
                                        # split, which is then not read; 0 is off
  c.data.fold = 0                       # which are: 0 the first, 1 the next, ...
  c.data.folder = ''                    # image_folder only: directory of class/file.png
  c.data.image_size = 64                # image_folder only: side in pixels, images are cropped square and resized
  c.data.channels = 3                   # image_folder only: 1 (grey) | 3 (RGB)
  c.data.test_fraction = 0.2            # image_folder only: share of each class held out
  c.data.device_mib = 512               # splits up to this size live on the accelerator, larger ones are streamed

  # Of training images: every operation with the probability p of each image to get it, and its strengths. The order
  # here is the order of work; `python -m experiments.preview --config ...` shows what a setting does.
  c.augment = ConfigDict()
  c.augment.border = 'constant'         # beyond the frame: constant | edge | reflect | wrap
  c.augment.fill = 0.0                  # of constant borders and of what is hidden; in [0, 1]
  c.augment.interpolation = 'bilinear'  # nearest | bilinear | cubic
  c.augment.rand_augment = op(num_ops=2, magnitude=9.0)     # num_ops of 14 operations at one magnitude of 30
  c.augment.trivial_augment_wide = op()                     # one of 14 operations, at any magnitude
  c.augment.auto_augment = op(table='cifar10')              # learned pairs: cifar10 | imagenet | svhn
  c.augment.augmix = op(severity=3.0, width=3, depth=3)     # chains of up to depth operations, averaged
  c.augment.three_augment = op(jitter=0.3)                  # grey, solarised or blurred; then jitter and a flip
  c.augment.autocontrast = op()                             # each channel's range stretched to [0, 1]
  c.augment.equalize = op()                                 # each channel's histogram made flat
  c.augment.gamma = op(limit=0.5)                           # exponent log-uniform in [1 / (1 + limit), 1 + limit]
  c.augment.tone_curve = op(limit=0.1)                      # a smooth curve, bent by up to about limit
  c.augment.posterize = op(bits=4)                          # bits kept: uniform in bits..7
  c.augment.solarize = op(threshold=0.5)                    # inverted above a value uniform in [threshold, 1]
  c.augment.invert = op(amount=1.0)                         # 1 is the negative
  c.augment.brightness = op(limit=0.4)                      # factor uniform in [1 - limit, 1 + limit]
  c.augment.contrast = op(limit=0.4)                        # likewise
  c.augment.saturation = op(limit=0.4)                      # likewise
  c.augment.hue = op(degrees=18.0)                          # angle uniform in [-degrees, degrees]
  c.augment.color_jitter = op(brightness=0.4, contrast=0.4, saturation=0.4, hue=18.0)  # the four above
  c.augment.pca_lighting = op(std=0.1)                      # standard deviation along ImageNet's colour axes
  c.augment.planckian_jitter = op(low=3000.0, high=15000.0)  # the light of a black body at kelvins in [low, high]
  c.augment.grayscale = op(amount=1.0)                      # 1 is grey
  c.augment.channel_shuffle = op()                          # any order of red, green and blue
  c.augment.channel_drop = op()                             # one of red, green and blue filled
  c.augment.clahe = op(clip_limit=4.0)                      # local equalisation, limit uniform in [1, clip_limit]
  c.augment.tiles = op(rows=2, cols=2)                      # zoom into one tile of the grid
  c.augment.random_resized_crop = op(scale_low=0.08, scale_high=1.0, ratio_low=3 / 4, ratio_high=4 / 3)  # of area
  c.augment.transpose = op()                                # mirrored about the main diagonal
  c.augment.antitranspose = op()                            # mirrored about the other diagonal
  c.augment.hflip = op()                                    # mirrored left-right
  c.augment.vflip = op()                                    # mirrored top-bottom
  c.augment.rot90 = op()                                    # turned by 0, 90, 180 or 270 degrees
  c.augment.scale = op(limit=0.25)                          # x and y by factors in [1 / (1 + limit), 1 + limit]
  c.augment.zoom = op(limit=0.25)                           # both by one such factor
  c.augment.shear = op(degrees=15.0)                        # x and y, each uniform in [-degrees, degrees]
  c.augment.rotate = op(degrees=30.0)                       # angle uniform in [-degrees, degrees]
  c.augment.affine = op(degrees=15.0, fraction=0.1, limit=0.2, shear=10.0)  # rotate, translate, zoom and shear
  c.augment.perspective = op(distortion=0.3)                # corners moved inwards by up to half of it
  c.augment.translate = op(fraction=0.1)                    # dx and dy, of the side, in [-fraction, fraction]
  c.augment.lens_distort = op(limit=0.3)                    # barrel to pincushion
  c.augment.thin_plate_spline = op(limit=0.1, size=3)       # size x size points moved by up to limit of the side
  c.augment.grid_distort = op(limit=0.3, steps=5)           # cells of a grid stretched and squeezed
  c.augment.elastic = op(alpha=0.05, sigma=0.1, size=16)    # smooth noise of up to alpha of the side
  c.augment.grid_shuffle = op(rows=2, cols=2)               # the tiles of a grid in any order
  c.augment.halves = op()                                   # one diagonal half kept
  c.augment.gaussian_blur = op(sigma=2.0)                   # sigma uniform in [0, sigma] pixels
  c.augment.box_blur = op(amount=1.0)                       # mean of 3 x 3 pixels, mixed in by amount
  c.augment.motion_blur = op(length=9.0)                    # a line of 1 to length pixels, in any direction
  c.augment.median_blur = op(amount=1.0)                    # median of 3 x 3 pixels, mixed in by amount
  c.augment.sharpen = op(amount=1.0)                        # uniform in [0, amount]
  c.augment.unsharp_mask = op(amount=1.0)                   # uniform in [0, amount]
  c.augment.gaussian_noise = op(std=0.1)                    # standard deviation uniform in [0, std]
  c.augment.shot_noise = op(scale=0.05)                     # variance of a photon count, of brightness
  c.augment.salt_and_pepper = op(amount=0.05)               # share of the pixels uniform in [0, amount]
  c.augment.jpeg = op(quality_low=30.0)                     # quality uniform in [quality_low, 95]
  c.augment.cutout = op(size=0.5)                           # side of a hidden square, of the image's shorter one
  c.augment.random_erasing = op(max_area=0.33, min_area=0.02, max_aspect=1 / 0.3)  # a rectangle, shares of area
  c.augment.grid_mask = op(ratio=0.5, min_unit=0.4, max_unit=1.0, max_degrees=0.0)  # a grid of squares
  c.augment.pixel_dropout = op(rate=0.05)                   # share of the pixels
  c.augment.coarse_dropout = op(max_side=0.2, holes=8)      # holes of sides up to max_side
  c.augment.histogram_match = op(max_amount=1.0, min_amount=0.5)  # values take the partner's distribution
  c.augment.fourier_mix = op(max_beta=0.1)                  # low frequencies take the partner's amplitude
  c.augment.copy_paste = op()                               # what the partner's mask covers is pasted
  c.augment.mosaic = op(margin=0.25)                        # four images about a point
  c.augment.mixup = op(alpha=0.2)                           # mean weighted by Beta(alpha, alpha)
  c.augment.cutmix = op(alpha=1.0)                          # a box of the partner, share by Beta(alpha, alpha)
  c.augment.resizemix = op(max_side=0.8, min_side=0.1)      # the partner made small
  c.augment.fmix = op(alpha=1.0)                            # blobs of the partner, share by Beta(alpha, alpha)

  c.model = ConfigDict()
  c.model.network = ''                  # of genaug/models/registry.py: dcgan | conv_vae | cnn | resnet20 | wrn16_4
  c.model.width = 64                    # channels of the widest-resolution layer; doubles with every halving
  c.model.conditional = False           # tell generative networks the class label

  # AdamW. Pairs move from the first value to the second over the run, in the shape of optim.schedule.
  c.optim = ConfigDict()
  c.optim.lr = number_or_pair(2e-4)     # learning rate; unless constant, one number falls to zero at the last step
  c.optim.b1 = number_or_pair(0.5)
  c.optim.b2 = number_or_pair(0.999)
  c.optim.weight_decay = number_or_pair(0.0)  # decoupled from the gradient; 0 is Adam
  c.optim.schedule = 'constant'         # constant | cosine | linear
  c.optim.warmup_steps = 0              # steps in which the learning rate rises from zero

  c.train = ConfigDict()
  c.train.steps = 4000                  # optimiser steps
  c.train.batch_size = 64               # images a step, over all devices of all hosts
  c.train.accumulate = 1                # slices of a device's share of the batch that are computed one after another,
                                        # for batches that do not fit into memory; batch norm sees a slice at a time
  c.train.steps_per_call = 10           # steps per dispatch on GPU and TPU; on CPU always 1 (a scan is slow there)
  c.train.log_every = 50                # steps between lines in metrics.jsonl
  c.train.snapshot_every = 500          # steps between sample grids
  c.train.checkpoint_every = 500        # steps between checkpoints
  c.train.checkpoints_kept = 2          # newest ones kept, beside the best

  c.eval = ConfigDict()
  c.eval.metrics = ()                   # any of: distances (gan, vae), elbo (vae), accuracy (classify); the best
                                        # checkpoint is the first one's
  c.eval.every = 2000                   # steps between evaluations; always at the end
  c.eval.samples = 10_000               # generated images
  c.eval.batch_size = 250               # images a device computes at once

  c.sweep = ConfigDict()                # what a trial of experiments.sweep gets; it changes no result
  c.sweep.cpus_per_trial = -1.0         # cores; -1 is all of a node, or the share of its GPU
  c.sweep.gpus_per_trial = -1.0         # GPUs, or a part of one; -1 is one where there are any
  return c.lock()


def own_optimizers(*networks: str) -> ConfigDict:
  """For each network, what its optimiser has other than c.optim; None is as there."""
  none = lambda: ConfigDict({name: number_or_pair(None) for name in ('lr', 'b1', 'b2', 'weight_decay')})
  return ConfigDict({network: none() for network in networks})


def augment_sweep(trial) -> dict[str, object]:
  """Searches the augmentation of grey images: how far all of them move, how often some are hidden or mixed.

  A name suggested is the key it sets; what is returned is set besides.
  """
  strengths = {
    'rotate.degrees': 40.0,
    'translate.fraction': 0.2,
    'zoom.limit': 0.4,
    'shear.degrees': 25.0,
    'elastic.alpha': 0.1,
    'brightness.limit': 0.6,
    'contrast.limit': 0.6,
  }
  for key, most in strengths.items():
    trial.suggest_float(f'augment.{key}', 0.0, most)
  trial.suggest_categorical('augment.hflip.p', (0.0, 0.5))
  if trial.suggest_categorical('augment.cutout.p', (0.0, 0.5, 1.0)):
    trial.suggest_float('augment.cutout.size', 0.1, 0.6)
  if trial.suggest_categorical('augment.mixup.p', (0.0, 0.5, 1.0)):
    trial.suggest_float('augment.mixup.alpha', 0.1, 2.0, log=True)
  return {f'augment.{key.partition(".")[0]}.p': 1.0 for key in strengths}
