"""Measures speed against other libraries, the peers, in the same run on the same cores.

python -m experiments.bench step [--output experiments/results/step_time.json]
python -m experiments.bench augment [--output experiments/results/augment_throughput.json]
python -m experiments.bench layers | in-step | dispatch | roofline | curves | autoencoder [--output ...]
python -m experiments.bench restore | compress | stylize | upscale --workdir RUN [--output ...]

  step   a training step of ten networks (batch 64, float32) against PyTorch on CPU: dcgan (28x28, 64/128 channels),
         r3 (configs/r3_mnist5k.py, relativistic, R1 and R2 every 4th step), unet (flow_mnist5k.py, with classes),
         resnet (32x32x3, 64 to 256 channels, hinge, spectral norm), conv_vae, resnet_vae and ladder_vae
         (vae_mnist5k.py), edsr (superres_own_images.py, batch 16, 48x48 pixels), unet_translator (translate_emoji64.py,
         batch 16, as a GAN of pairs), stylizer (style_own_images.py, batch 8). GANs are unconditional. Ours is the step
         that experiments.train runs, with its batch gather, random draws, augmentation and weight average. PyTorch's
         has the same networks, losses, optimisers, order of updates and weight average on a fixed batch: eager with the
         default memory allocator, eager with the allocator set as experiments.train sets it, and with that allocator
         and networks compiled by torch.compile. Ours is also measured with XLA's older code generator,
         XLA_FLAGS=--xla_cpu_use_fusion_emitters=false. Each program is a process of its own, and blocks of steps
         alternate between them; compilation and warm-up are excluded. --networks measures some; results of others in
         --output stay. Needs PyTorch: pip install torch (the CPU build will do), and a C++ compiler.
  augment  images per second of every operation of genaug.augment that a peer has too, at 32x32 and 224x224. The peers
         are those of experiments.benchmarks that are installed. Writes --output after each measurement; the same
         command continues where it stopped. --quick for a first look, --ops rotate,jpeg for some, --fresh to measure
         again. The report compares it with augment_throughput_earlier.json, measured on another day, if that is there.
  layers    single convolutions of these networks with their gradients, against XLA's and PyTorch's: where a step spends
            its time.
  in-step   what augmentation costs inside the DCGAN step.
  dispatch  augmentation policies: each operation computed only for the images that drew it, or for all images.
  roofline  memory bandwidth of a fused chain of input operations, as a share of the bandwidth of a copy.
  curves    how time and memory of a step grow with batch size, side of the images and devices (simulated ones on CPU),
            for DCGAN, flow U-Net, classifier and the input step alone; also what streaming the images costs. The same
            command continues where it stopped.
Quality, not speed, against peers:
  autoencoder  ELBO of configs/vae_mnist5k.py and of its architecture and objective in PyTorch; 2,000 steps, 3 seeds.
  restore  PSNR and SSIM of test images restored by a VAE and by classical methods; pictures beside --output.
  compress  bytes of test images, or of the images in --folder: a VAE against PNG and WebP; or runs of a hyperprior at
         several rates, --workdir=a,b,c,d, against JPEG and WebP, with PSNR and BD-rate.
  upscale  PSNR, SSIM and LPIPS of the images in --folder, downscaled and then enlarged by super-resolution runs of one
           scale, --workdir=a,b, and by the resizers of Pillow and OpenCV; pictures beside --output.
  stylize  losses and seconds of a style transfer network against 25, 50 and 100 steps of optimising the pixels.
"""

import os
import pathlib

from absl import flags

from experiments import cli

_DATA_DIR = cli.define_data_dir()
_THREADS = flags.DEFINE_integer(
  'threads', None, 'Threads or processes of the other libraries. Default: one per core.', lower_bound=1
)
_ROUNDS = flags.DEFINE_integer('rounds', 15, 'Timed blocks per program.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 20, 'Steps per timed block. Table step: a multiple of 4.', lower_bound=1)
_NETWORKS = flags.DEFINE_list('networks', [], 'Table step: networks to measure. Default: all.')
_WORKDIR = flags.DEFINE_list(
  'workdir', [], 'Tables restore and stylize: a trained run; compress and upscale: one or several, comma-separated.'
)
_IMAGES = flags.DEFINE_integer(
  'images', None, "How many of the run's test images to use. Default: 1,000; table stylize: 16.", lower_bound=1
)
_FOLDER = flags.DEFINE_string(
  'folder', None, 'Table upscale: folder of images. Table compress: folder of images to use instead of test images.'
)
_OPS = flags.DEFINE_list('ops', [], 'Table augment: operations to measure. Default: all.')
_FRESH = flags.DEFINE_bool('fresh', False, 'Table augment: repeat the measurements that --output already holds.')
_QUICK = flags.DEFINE_bool('quick', False, 'Table augment: at most 3 rounds.')
_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write the measurements to.')
_RUN_TABLES = ('restore', 'compress', 'stylize', 'upscale')


def _training_commands(runs: list[pathlib.Path]) -> list[list[str]]:
  """Returns the commands that these runs were first trained with. Raises InputError for a folder that is no run."""
  from experiments.report.formatting import command_of
  from genaug.training import workdir

  return [command_of(workdir.read_environment(run)) for run in runs]


def _augment(output: pathlib.Path | None, threads: int) -> dict:
  from experiments.benchmarks import throughput

  rounds, seconds = (min(3, _ROUNDS.value), 1.0) if _QUICK.value else (_ROUNDS.value, 1.5)
  return throughput.table(output, _OPS.value, _FRESH.value, threads, rounds, seconds)


def _table_of_runs(table: str, output: pathlib.Path | None) -> dict:
  """Returns a table about trained runs, one of _RUN_TABLES. Raises InputError for a wrong number of runs."""
  from genaug.errors import InputError

  if not _WORKDIR.value:
    raise InputError('workdir', _WORKDIR.value, f'missing: table {table} measures a trained run', '--workdir=RUN')
  runs, data_dir = list(map(pathlib.Path, _WORKDIR.value)), pathlib.Path(_DATA_DIR.value)
  if table in ('stylize', 'restore') and len(runs) > 1:
    raise InputError('workdir', ','.join(_WORKDIR.value), f'table {table} is of one run', f'--workdir={runs[0]}')
  trained_by = {'training_commands': _training_commands(runs)}
  from experiments.benchmarks import coders, restorers, stylists, upscalers  # these take seconds to import

  if table == 'stylize':
    return trained_by | stylists.table(runs[0], data_dir, _IMAGES.value or 16, output)
  folder = _FOLDER.value and pathlib.Path(_FOLDER.value)
  if table == 'upscale':
    return trained_by | upscalers.table(runs, data_dir, folder, output)
  images = _IMAGES.value or 1000
  if table == 'restore':
    return trained_by | restorers.table(runs[0], data_dir, images, output)
  return trained_by | coders.table(runs, folder, data_dir, images)


def main(table: str) -> None:
  from experiments.benchmarks import curves, layers, steps
  from genaug.training import workdir

  output, threads = _OUTPUT.value and pathlib.Path(_OUTPUT.value), _THREADS.value or os.cpu_count()
  if table == 'augment':
    result = _augment(output, threads)
  elif table == 'step':
    result = steps.step(output, _NETWORKS.value, threads, _ROUNDS.value, _STEPS.value)
  elif table == 'layers':
    result = layers.table(threads, _ROUNDS.value, _STEPS.value)
  elif table in _RUN_TABLES:
    result = _table_of_runs(table, output)
  elif table == 'curves':
    result = curves.table(output, _ROUNDS.value, _STEPS.value)
  elif table == 'autoencoder':
    result = steps.import_torch_module(table, 'vae_elbo').table(pathlib.Path(_DATA_DIR.value))
  else:
    result = getattr(steps, table.replace('-', '_'))(_ROUNDS.value, _STEPS.value)
  if output:
    workdir.write_json(output, result)


if __name__ == '__main__':
  cli.run(
    main,
    choices=('step', 'augment', 'layers', 'in-step', 'dispatch', 'roofline', 'curves', 'autoencoder', *_RUN_TABLES),
  )
