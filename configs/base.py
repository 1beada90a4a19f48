"""Config keys that every experiment has. configs/families/ adds the keys of one task; a config sets some of both.

Setting a key that is in neither is an error.
"""

from ml_collections import ConfigDict, FieldReference

from genaug import augment


def number_or_pair(value: float | None) -> FieldReference:
  """Returns a field that takes a number or a pair, also on the command line: --config.optim.lr="(2e-4, 5e-5)"."""
  return FieldReference(value, field_type=object)


def augment_off() -> ConfigDict:
  """Returns a config of augmentation: every operation of the registry, at probability 0 and with default parameters."""
  config = ConfigDict()
  for name, settings in augment.registry.defaults().items():
    pairs = {key for key, parameter in augment.registry.declared(name).items() if getattr(parameter, 'pair', None)}
    # A field of type object takes a number or a pair, on the command line too; the operation checks its value.
    config[name] = {key: number_or_pair(value) if key in pairs else value for key, value in settings.items()}
  return config


def get_config() -> ConfigDict:
  # fmt: off
  c = ConfigDict()
  c.task = ''                           # what to train; set by configs/families: gan | vae | fsq | flow | text_to_image
                                        # | image_variations | hyperprior | superres | style | pix2pix | cut
                                        # | cyclegan | classify | fixmatch
  c.seed = 0                            # random seed of initialisation, batches, augmentation and latents
  c.dtype = 'float32'                   # dtype that networks compute in: float32 | bfloat16; parameters stay float32

  c.data = ConfigDict()
  c.data.name = 'mnist5k'               # mnist5k | stacked_mnist | fashion_mnist | emoji64/google | emoji64/twitter
                                        # | image_folder, or any TFDS name. With target images: image_pairs |
                                        # emoji64/google_to_twitter. With captions: image_captions |
                                        # emoji_captions/google | emoji_captions/twitter
  c.data.train_split = 'train'          # TFDS split to train on; slices such as train[:1000] are fine
  c.data.test_split = 'test'            # TFDS split to evaluate on; '' evaluates on the training images
  c.data.per_class = 0                  # training images per class, drawn with subset_seed; 0 is all
  c.data.subset_seed = 0                # seed of that draw; independent of c.seed
  c.data.validation = 0                 # images per class that are held out of these and evaluated on instead of the
                                        # test split, which is then not read; 0 is off. Unlike with test_split, copies
                                        # of one image, such as augment_folder's, may end up on both sides
  c.data.fold = 0                       # which images are held out: 0 the first of each class, 1 the next, ...
  c.data.folder = ''                    # own images: directory of class/file.png, or .jpg, .tif, ...
  c.data.image_size = 64                # own images: side in pixels; they are cropped square and resized to it
  c.data.channels = 3                   # own images: 1 (greyscale) | 3 (RGB)
  c.data.test_fraction = 0.2            # own images: share of each class in the test split; folders train/class and
                                        # test/class (or val/class) are taken as the splits
  c.data.skip_broken = False            # image_folder: leave out files that do not decode instead of raising an error
  c.data.load_truncated = False         # own images: read truncated files as far as they decode
  c.data.bits = 0                       # own images: bit depth of greyscale files with more than 8 bits: 10, 12, 14,
                                        # 16, or 1 for floats up to 1; 0 infers it from the brightest value of all
  c.data.device_mib = 512               # training splits up to this size in MiB stay in device memory, larger ones are
                                        # streamed from the host

  # Augmentation of training images: the probability p that an image gets an operation, and the operation's parameters.
  # A sampled parameter is a number or a pair (low, high). genaug/augment/README.md lists all operations in order of
  # application; `python -m experiments.preview --config ...` shows what a setting does.
  c.augment = augment_off()
  c.augment.border = 'constant'         # pixels beyond the frame: constant | edge | reflect | wrap
  c.augment.fill = 0.0                  # value of constant borders and of hidden pixels, in [0, 1]
  c.augment.interpolation = 'bilinear'  # of geometric operations: nearest | bilinear | cubic
  c.augment.one_of = ()                 # ((p, ('rotate', 'shear')), ...): with probability p exactly one of these
  c.augment.some_of = ()                # ((p, 2, ('rotate', 'shear', 'zoom')), ...): with probability p two of these

  c.model = ConfigDict()
  c.model.network = ''                  # entry of genaug/models/registry.py: dcgan | resnet | r3 | unet | conv_vae |
                                        # resnet_vae | ladder_vae | fsq | hyperprior | edsr | stylizer |
                                        # unet_translator | resnet_translator | cnn | resnet20 | wrn16_4
  c.model.width = 64                    # channels at the highest resolution; doubles with every halving (not in
                                        # hyperprior)
  c.model.conditional = False           # condition generative networks on the class label

  # AdamW. A pair of values is a schedule from the first to the second, in the shape of optim.schedule.
  c.optim = ConfigDict()
  c.optim.lr = number_or_pair(2e-4)     # learning rate; a single number decays to zero, unless the schedule is constant
  c.optim.b1 = number_or_pair(0.5)      # decay of Adam's first moment, in [0, 1)
  c.optim.b2 = number_or_pair(0.999)    # decay of Adam's second moment, in [0, 1)
  c.optim.weight_decay = number_or_pair(0.0)  # decoupled from the gradient (AdamW); 0 is Adam
  c.optim.clip = 0.0                    # largest global norm of a network's gradient, to which larger ones are scaled
                                        # down; 0 is no clipping
  c.optim.schedule = 'constant'         # constant | cosine | linear
  c.optim.schedule_steps = 0            # length of the schedule, warm-up included, after which the last value stays;
                                        # 0 is train.steps
  c.optim.warmup_steps = 0              # first steps, over which the learning rate rises linearly from zero

  c.train = ConfigDict()
  c.train.steps = 4000                  # optimiser steps; may be raised later if optim.schedule is constant or
                                        # optim.schedule_steps is set
  c.train.patience = 0                  # early stopping after this many evaluations in which the score of the first of
                                        # eval.metrics does not improve; 0 is off. See data.validation
  c.train.batch_size = 64               # images per step, over all devices of all hosts
  c.train.accumulate = 1                # gradient accumulation over this many slices of a device's share of the batch,
                                        # for batches that do not fit into memory; batch norm sees a slice at a time
  c.train.steps_per_call = 10           # steps per dispatch on GPU and TPU; on CPU always 1 (a scan is slow there)
  c.train.log_every = 50                # steps between lines in metrics.jsonl
  c.train.snapshot_every = 500          # steps between sample grids
  c.train.checkpoint_every = 500        # steps between checkpoints
  c.train.checkpoints_kept = 2          # newest checkpoints kept, besides the best

  c.eval = ConfigDict()
  c.eval.metrics = ()                   # any of: distances, coverage, memorisation, diversity (gan, vae, fsq, flow
                                        # tasks), cas (those with model.conditional), modes (stacked_mnist),
                                        # discriminator (gan), elbo (vae, fsq), reconstruction (vae, fsq, hyperprior),
                                        # iwae, amortisation and latents (vae), codes (fsq), held_out (flow tasks),
                                        # linear_probe (gan, vae, flow without model.conditional), rate_distortion
                                        # (hyperprior), super_resolution (superres), translation (pix2pix, cut,
                                        # cyclegan), retrieval (text_to_image), style (style), accuracy (classify,
                                        # fixmatch); the score of the first one chooses the best checkpoint
  c.eval.features = 'alexnet'           # features that images are compared by: alexnet | vgg16 | inception (FD is then
                                        # FID), or your own package.module:function, uint8 [b, h, w, c] -> [b, d]
  c.eval.inception_weights = ''         # .npz file of the InceptionV3 weights, see genaug/metrics/inception.py
  c.eval.every = 2000                   # steps between evaluations; the last step is always evaluated
  c.eval.samples = 10_000               # generated images that are scored
  c.eval.labels = 'training'            # class labels of these images, if the network is conditional: training (as
                                        # frequent as among the training images) | balanced
  c.eval.batch_size = 250               # images computed at once

  c.sweep = ConfigDict()                # resources of a trial of experiments.sweep; they change no result
  c.sweep.cpus_per_trial = -1.0         # CPU cores; -1 is all of a node, divided by its GPUs if it has any
  c.sweep.gpus_per_trial = -1.0         # GPUs, or a fraction of one; -1 is one if there are any
  return c.lock()


def optimizer_overrides(*networks: str) -> ConfigDict:
  """Returns optimiser settings of each network that override those of c.optim; None keeps the value of c.optim."""
  none = lambda: ConfigDict({name: number_or_pair(None) for name in ('lr', 'b1', 'b2', 'weight_decay')})
  return ConfigDict({network: none() for network in networks})


def augment_sweep(trial) -> dict[str, object]:
  """Suggests augmentation of greyscale images: strengths of geometry and tone, flips, how often to cut out or mix.

  Each suggested name is the config key that it sets. Returns further keys to set: p = 1 for geometry and tone.
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
  for key, highest in parameters.items():
    trial.suggest_float(f'augment.{key}', 0.0, highest)
  trial.suggest_categorical('augment.hflip.p', (0.0, 0.5))
  if trial.suggest_categorical('augment.cutout.p', (0.0, 0.5, 1.0)):
    trial.suggest_float('augment.cutout.size', 0.1, 0.6)
  if trial.suggest_categorical('augment.mixup.p', (0.0, 0.5, 1.0)):
    trial.suggest_float('augment.mixup.alpha', 0.1, 2.0, log=True)
  return {f'augment.{key.partition(".")[0]}.p': 1.0 for key in parameters}
