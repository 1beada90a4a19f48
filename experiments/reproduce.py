"""Reproduces a table of experiments/results/README.md that takes many trained models, from the data to a report.

python -m experiments.reproduce headline [--quick | --full] [--dataset mnist5k | --images DIR]
python -m experiments.reproduce sweep --sweep runs/classify_mnist5k-sweep/sweep.json

headline: does augmentation, a generator, or both help a classifier of few images? configs/headline.py says what is
compared; flags such as --config.seeds=3 override it. The folder of --images holds class/file.png (or .jpg, ...).
sweep: is the best trial of experiments.sweep better than no and than classic augmentation, trained on fresh subsets and
tested on the test split?

Every stage is cached under WORKDIR: the same command continues after an interruption, and trains nothing if all is
done. At the end WORKDIR/report.html shows all results.

With --address every k and seed is a task of a Ray cluster, whose nodes must see the repository, DATA_DIR, WORKDIR and
IMAGES at the same paths; config.cpus_per_cell and config.gpus_per_cell are the resources of a task.
"""

import json
import pathlib
import subprocess
import sys
import time

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import cli
from genaug.errors import InputError

_CONFIG = config_flags.DEFINE_config_file(
  'config', 'configs/headline.py:quick', 'headline: config of the comparison.', lock_config=True
)
_DATA_DIR = cli.define_data_dir()
_QUICK = flags.DEFINE_bool('quick', False, 'headline: small sizes, for two CPU cores; the default.')
_FULL = flags.DEFINE_bool('full', False, 'headline: sizes for a GPU; short for --config=configs/headline.py:full.')
flags.mark_bool_flags_as_mutual_exclusive(['quick', 'full'])
_SWEEP = flags.DEFINE_string('sweep', None, 'sweep: path of the sweep.json that experiments.sweep wrote.')
_DATASET = flags.DEFINE_list('dataset', ['mnist5k', 'fashion_mnist'], 'headline: names of data sets.')
_IMAGES = flags.DEFINE_string('images', None, 'headline: a folder of your own images, instead of --dataset.')
_IMAGE_SIZE = flags.DEFINE_integer('image_size', 32, 'headline: side in pixels to which --images are resized.')
_WORKDIR = flags.DEFINE_string('workdir', 'runs/headline', 'headline, sweep: directory of finished stages.')
_OUTPUT = flags.DEFINE_string('output', None, 'Directory to write the results to. Default: WORKDIR.')
_ADDRESS = flags.DEFINE_string(
  'address',
  None,
  'headline, sweep: host:port of a Ray cluster, or local: in parallel on this machine. Default: without Ray.',
)
_DRY_RUN = flags.DEFINE_bool(
  'dry_run',
  False,
  'headline, sweep: print what would be trained and how long it would take on this machine; train nothing.',
)
_RETRIES = flags.DEFINE_integer('retries', 2, 'Retries of a task whose node or process is lost.', lower_bound=0)
flags.adopt_module_key_flags(cli)


def _data_sets(reading: ConfigDict) -> dict:
  """Returns {name: `data` of an experiment's config} of --images or --dataset; fetches data sets that are missing."""
  from configs import base
  from genaug.data import sources

  if _IMAGES.value:
    data = base.get_config().data
    data.update({'name': 'image_folder', 'folder': _IMAGES.value, 'image_size': _IMAGE_SIZE.value, **reading})
    return {pathlib.Path(_IMAGES.value).resolve().name: data}
  data_sets = {name: base.get_config().data for name in _DATASET.value}
  for name, data in data_sets.items():
    data.name = name
    if sources.is_prepared(data, _DATA_DIR.value):
      continue
    prepare = [sys.executable, '-m', 'experiments.prepare', f'--dataset={name}', f'--data_dir={_DATA_DIR.value}']
    if status := subprocess.run(prepare, check=False).returncode:
      raise SystemExit(status)
  return data_sets


def _headline() -> None:
  from configs import headline

  if (_FULL.value or _QUICK.value) and flags.FLAGS['config'].present:
    name = '--full' if _FULL.value else '--quick'
    raise InputError(name, True, 'says the same as --config', '--config=configs/headline.py:full --config.seeds=3 ...')
  config = _CONFIG.value
  if _FULL.value:
    config = headline.get_config('full')
    config.update_from_flattened_dict(config_flags.get_override_values(flags.FLAGS['config']))
  _study('headline', {name: (config, data) for name, data in _data_sets(config.data).items()})


def _confirm() -> None:
  """Compares a sweep's best trial with no and classic augmentation, on fresh subsets and seeds and the test images."""
  from configs import headline
  from genaug.study import sweeps

  for flag in ('config', 'quick', 'full', 'dataset', 'images', 'image_size'):
    if flags.FLAGS[flag].present:
      raise InputError(flag, flags.FLAGS[flag].value, 'is a flag of table headline only', f'leave --{flag} out')
  record = sweeps.read(pathlib.Path(_SWEEP.value or ''))
  for key in record['space']:
    if not (key.startswith('augment.') and key.count('.') == 2):
      problem = 'the sweep searched this key too, but only augment.OPERATION.PARAMETER can be confirmed'
      raise InputError('sweep', key, problem, 'train its best trial with several seeds: python -m experiments.seeds')
  config, data = headline.sweep_confirmation(record)
  config.update_from_flattened_dict(config_flags.get_override_values(flags.FLAGS['config']))
  _study('sweep', {data.name: (config, data)}, search=record)


def _on_ray(address: str | None, studies: dict, configs: dict[str, tuple[ConfigDict, ConfigDict]]) -> dict[str, dict]:
  """Returns the result of every table, computed by Ray at the address, or on this machine if there is none."""
  import ray

  from genaug.study import cells, cluster
  from genaug.training import logs

  config = next(iter(configs.values()))[0]
  wanted = {name: config[name] for name in ('cpus_per_cell', 'gpus_per_cell')}
  cluster.check_resources(wanted)
  cluster.connect(address)
  request = cluster.resources(wanted)
  directories = pathlib.Path(_DATA_DIR.value).absolute(), pathlib.Path(_WORKDIR.value).absolute()
  settings = {name: cells.Settings(*one, *directories, request['CPU']) for name, one in configs.items()}
  with logs.progress(cells.count(studies), 0, unit='task') as bar:

    def ended(message: str) -> None:
      bar.update()
      logs.say(message)

    results = cells.run(studies, settings, request, _RETRIES.value, ended)
  ray.shutdown()
  return results


def _study(table: str, configs: dict[str, tuple[ConfigDict, ConfigDict]], **more: dict) -> None:
  """Makes a table for each of {data set: (config of the study, data of an experiment)}, and one page of them all."""
  import jax

  from experiments.report import page, tables
  from genaug.study import cluster
  from genaug.study.headline import Table
  from genaug.study.store import Store
  from genaug.training import dry_run, logs, workdir

  start, directory = time.perf_counter(), pathlib.Path(_WORKDIR.value)
  address = None if _ADDRESS.value == 'local' else _ADDRESS.value
  if _ADDRESS.value:
    cluster.prepare(address)
  jax.config.update('jax_compilation_cache_dir', str(directory / 'compiled'))
  directory.mkdir(parents=True, exist_ok=True)
  page.check_output(directory / 'report.html')
  paths = []
  with workdir.lock(directory), logs.progress(0, 0, enabled=not (_ADDRESS.value or _DRY_RUN.value)) as bar:
    data_dir, store = pathlib.Path(_DATA_DIR.value), Store(directory / 'stages')
    studies = {
      name: Table(config, data, data_dir, store, bar.update, logs.say) for name, (config, data) in configs.items()
    }
    if _DRY_RUN.value:
      for name, study in studies.items():
        print(f'{name}: k = {", ".join(map(str, study.per_class))}, {len(study.cells)} cells')
        print(dry_run.describe_all(study.trainings()))
      return
    bar.total = sum(study.work for study in studies.values())
    for study in studies.values():
      study.sizes()  # a test split that can't be read is refused before anything is trained
    results = _on_ray(address, studies, configs) if _ADDRESS.value else {}
    for name, study in studies.items():
      path = pathlib.Path(_OUTPUT.value or directory) / f'{table}_{name.replace("/", "-")}.json'
      about = {
        'data': name,
        'command': ['python', '-m', 'experiments.reproduce', *sys.argv[1:]],
        'config': json.loads(configs[name][0].to_json()),
        'environment': workdir.environment(),
        **more,
      }
      save = lambda result, about=about, path=path: workdir.write_json(path, about | result)
      if name in results:
        save(results[name])
      else:
        results[name] = study.run(save)
      logs.say(f'\n{tables.headline(about | results[name])}\n\n{path}')
      paths.append(path)
    page.write(paths, directory / 'report.html')
  print(f'{directory / "report.html"}, {(time.perf_counter() - start) / 60:.1f} minutes')


def main(table: str) -> None:
  _headline() if table == 'headline' else _confirm()


if __name__ == '__main__':
  cli.run(main, choices=('headline', 'sweep'))
