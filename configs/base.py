"""The keys that every experiment has; configs/families/ adds those of one task, a config sets some of them.

A key that is in neither does not exist.
"""

from ml_collections import ConfigDict, FieldReference

from genaug import augment


def number_or_pair(value: float | None) -> FieldReference:
  """A field that takes a number or a pair of two, also on the command line: --config.optim.lr="(2e-4, 5e-5)"."""
  return FieldReference(value, field_type=object)


def augment_off() -> ConfigDict:
  """c.augment: every operation of the registry at probability 0, with its default parameters."""
  config = ConfigDict()
  for name, settings in augment.registry.defaults().items():
    pairs = {key for key, parameter in augment.registry.declared(name).items() if getattr(parameter, 'pair', None)}
    # A field of type object takes a number and a pair, on the command line as well; `validated` checks what it gets.
    config[name] = {key: number_or_pair(value) if key in pairs else value for key, value in settings.items()}
  return config


def get_config() -> ConfigDict:
  # fmt: off
  c = ConfigDict()
  c.task = ''                           # set by configs/families: gan | vae | fsq | flow | text_to_image
                                        # | image_variations | hyperprior | superres | style | pix2pix | cut
                                        # | cyclegan | classify | fixmatch
  c.seed = 0                            # of initialisation, batches, augmentation and latents
  c.dtype = 'float32'                   # networks compute in float32 | bfloat16; parameters stay float32

  c.data = ConfigDict()
  c.data.name = 'mnist5k'               # mnist5k | stacked_mnist | fashion_mnist | emoji64/google | emoji64/twitter
                                        # | image_folder or any name of TFDS; with targets image_pairs and
                                        # emoji64/google_to_twitter, with captions image_captions,
                                        # emoji_captions/google and emoji_captions/twitter
  c.data.train_split = 'train'          # TFDS split; slices such as train[:1000] are fine
  c.data.test_split = 'test'            # TFDS split the evaluation compares with; '' is none: the training images again
  c.data.per_class = 0                  # training images of each class, drawn by subset_seed; 0 is all
  c.data.subset_seed = 0                # which images those are; independent of seed
  c.data.validation = 0                 # of these, images of each class that are held out and stand in for the test
                                        # split, which is then not read; 0 is off. Unlike with test_split, copies of
                                        # one image, such as augment_folder's, may end up on both sides
  c.data.fold = 0                       # which are: 0 the first, 1 the next, ...
  c.data.folder = ''                    # directory of class/file.png, or .jpg, .tif, ...
  c.data.image_size = 64                # of files: side in pixels, images are cropped square and resized
  c.data.channels = 3                   # of files: 1 (grey) | 3 (RGB)
  c.data.test_fraction = 0.2            # of files: share of each class held out; folders train/class and
                                        # test/class (or val/class) are taken as they are
  c.data.skip_broken = False            # image_folder only: leave out files that don't decode, instead of refusing
  c.data.load_truncated = False         # folders: read files that are cut short as far as they go
  c.data.bits = 0                       # folders: of grey images with more than 8: 10, 12, 14, 16, or 1 for floats up
                                        # to 1; 0 is as many as the brightest value of all of them needs
  c.data.device_mib = 512               # splits up to this size live on the accelerator, larger ones are streamed

  # Of training images: every operation with its probability p of each image to get it, and its parameters; a parameter
  # that is sampled is a number or a pair (low, high). genaug/augment/README.md lists them in their order; `python -m
  # experiments.preview --config ...` shows what a setting does.
  c.augment = augment_off()
  c.augment.border = 'constant'         # beyond the frame: constant | edge | reflect | wrap
  c.augment.fill = 0.0                  # of constant borders and of what is hidden; in [0, 1]
  c.augment.interpolation = 'bilinear'  # nearest | bilinear | cubic
  c.augment.one_of = ()                 # ((p, ('rotate', 'shear')), ...): with probability p exactly one of these
  c.augment.some_of = ()                # ((p, 2, ('rotate', 'shear', 'zoom')), ...): with probability p two of these

  c.model = ConfigDict()
  c.model.network = ''                  # of genaug/models/registry.py: dcgan | resnet | r3 | unet | conv_vae |
                                        # resnet_vae | ladder_vae | fsq | hyperprior | edsr | stylizer |
                                        # unet_translator | resnet_translator | cnn | resnet20 | wrn16_4
  c.model.width = 64                    # channels at the highest resolution; doubles with every halving
  c.model.conditional = False           # tell generative networks the class label

  # AdamW. Pairs move from the first value to the second in the shape of optim.schedule.
  c.optim = ConfigDict()
  c.optim.lr = number_or_pair(2e-4)     # learning rate; unless constant, one number falls to zero at the last step
  c.optim.b1 = number_or_pair(0.5)
  c.optim.b2 = number_or_pair(0.999)
  c.optim.weight_decay = number_or_pair(0.0)  # decoupled from the gradient; 0 is Adam
  c.optim.clip = 0.0                    # largest norm of a network's gradient, longer ones are shortened; 0 is any
  c.optim.schedule = 'constant'         # constant | cosine | linear
  c.optim.schedule_steps = 0            # its length, after which the last value stays; 0 is train.steps
  c.optim.warmup_steps = 0              # steps in which the learning rate rises from zero

  c.train = ConfigDict()
  c.train.steps = 4000                  # optimiser steps; may be raised later, if optim.schedule is constant or has
                                        # a length of its own
  c.train.patience = 0                  # evaluations without a better score of the first of eval.metrics after which
                                        # training ends early; 0 is never. See data.validation
  c.train.batch_size = 64               # images a step, over all devices of all hosts
  c.train.accumulate = 1                # slices of a device's share of the batch that are computed one after another,
                                        # for batches that do not fit into memory; batch norm sees a slice at a time
  c.train.steps_per_call = 10           # steps per dispatch on GPU and TPU; on CPU always 1 (a scan is slow there)
  c.train.log_every = 50                # steps between lines in metrics.jsonl
  c.train.snapshot_every = 500          # steps between sample grids
  c.train.checkpoint_every = 500        # steps between checkpoints
  c.train.checkpoints_kept = 2          # newest ones kept, beside the best

  c.eval = ConfigDict()
  c.eval.metrics = ()                   # any of: distances, coverage, memorisation, diversity (gan, vae, fsq, flow
                                        # tasks), cas (those told the class), modes (stacked_mnist), discriminator
                                        # (gan), elbo (vae, fsq), reconstruction (vae, fsq, hyperprior), iwae,
                                        # amortisation and latents (vae), codes (fsq), held_out (flow tasks),
                                        # linear_probe (gan, vae, flow that are not told the class), rate_distortion
                                        # (hyperprior), super_resolution (superres), translation (pix2pix, cut,
                                        # cyclegan), retrieval (text_to_image), style (style), accuracy (classify,
                                        # fixmatch); the best checkpoint is the first one's
  c.eval.features = 'alexnet'           # that images are compared by: alexnet | vgg16 | inception (then it is the FID)
                                        # or package.module:function of your own, uint8 [b, h, w, c] -> [b, d]
  c.eval.inception_weights = ''         # .npz of them, see genaug/metrics/inception.py
  c.eval.every = 2000                   # steps between evaluations; always at the end
  c.eval.samples = 10_000               # generated images
  c.eval.labels = 'training'            # of which classes, where the network is told: as many of each as among the
                                        # training images | balanced
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
  parameters = {
    'rotate.degrees': 40.0,
    'translate.fraction': 0.2,
    'zoom.limit': 0.4,
    'shear.degrees': 25.0,
    'elastic.alpha': 0.1,
    'brightness.limit': 0.6,
    'contrast.limit': 0.6,
  }
  for key, most in parameters.items():
    trial.suggest_float(f'augment.{key}', 0.0, most)
  trial.suggest_categorical('augment.hflip.p', (0.0, 0.5))
  if trial.suggest_categorical('augment.cutout.p', (0.0, 0.5, 1.0)):
    trial.suggest_float('augment.cutout.size', 0.1, 0.6)
  if trial.suggest_categorical('augment.mixup.p', (0.0, 0.5, 1.0)):
    trial.suggest_float('augment.mixup.alpha', 0.1, 2.0, log=True)
  return {f'augment.{key.partition(".")[0]}.p': 1.0 for key in parameters}
