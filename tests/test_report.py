"""The report shows the figures of its files and nothing else; it is safe, self-contained, and fits a phone."""

import html
import html.parser
import json
import re
import shutil
import subprocess

import pytest
from PIL import Image

from experiments.report import benchmarks, charts, page, runs
from genaug.errors import InputError
from genaug.study.seeds import summarise
from genaug.study.summaries import compared
from tests.conftest import ROOT

HOSTILE = '<script>alert(1)</script>"\'&'
ENVIRONMENT = {'command': ['train.py', '--config', 'c.py'], 'devices': ['cpu 0'], 'packages': {'jax': '0.10'}}
VOID = {'meta', 'img', 'br', 'link'}


class Parsed(html.parser.HTMLParser):
  """Raises AssertionError for tags that do not nest; keeps text, table rows and attributes."""

  def __init__(self, text: str):
    super().__init__()
    self.open, self.tags, self.rows, self.text = [], [], [], ''
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))
    if tag not in VOID:
      self.open.append(tag)
    if tag == 'tr':
      self.rows.append([])
    if tag in ('td', 'th'):
      self.rows[-1].append('')

  def handle_startendtag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data
    if self.open[-1:] in (['td'], ['th']):
      self.rows[-1][-1] += data


def headline(accuracies: dict[str, list[float | None]], title: str = 'GAN, "then" classic') -> dict:
  """A result of reproduce; None is a seed that failed."""
  titles = {'none': 'no augmentation', 'classic': 'classic', 'gan': title}
  rows = {}
  for name, values in accuracies.items():
    scores = [{'failed': 'diverged'} if v is None else {'accuracy': v, 'ece': 0.04} for v in values]
    rows[name] = {'title': titles[name], 'runs': [{'seed': i, **one} for i, one in enumerate(scores)]}
  generators = {name: {'generator': name if name == 'gan' else ''} for name in titles}
  return {
    'data': 'digits',
    'command': ['python', '-m', 'experiments.reproduce', 'headline'],
    'config': {'order': list(titles), 'rows': generators, 'seeds': 3},
    'environment': ENVIRONMENT,
    'images': {'classes': ['0', '1'], 'test': 1000, 'shape': [28, 28, 1]},
    'per_class': {'10': {'lr': 0.001, 'rows': compared(rows, 'accuracy')}},
  }


def trained(directory, seed: int, losses: dict[int, float], **config):
  """A workdir as experiments.train leaves it."""
  (directory / 'figures').mkdir(parents=True)
  (directory / 'config.json').write_text(json.dumps({'seed': seed, 'optim': {'lr': 1e-3, 'b1': 0.5}, **config}))
  (directory / 'environment.json').write_text(json.dumps(ENVIRONMENT))
  lines = [{'step': step, 'train/loss': loss} for step, loss in losses.items()]
  lines.append({'step': max(losses), 'eval/accuracy': 0.5 + seed / 10})
  (directory / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines) + '{"step": 9, "tr')
  for step, shade in ((5, 10), (10, 200)):
    Image.new('L', (8, 8), shade).save(directory / 'figures' / f'samples_{step:06d}.png')
  return directory


def sweep(directory):
  trial = {'id': 'aa', 'overrides': {'optim.lr': 0.01}, 'status': 'finished', 'scores': [0.25, 0.75], 'mean': 0.5}
  better = trial | {'id': 'bb', 'overrides': {'optim.lr': 0.02, 'optim.b1': 0.9}, 'mean': 0.625, 'scores': [0.5, 0.75]}
  failed = {'id': 'cc', 'overrides': {'optim.lr': 9.0}, 'status': 'failed', 'scores': [], 'error': 'diverged'}
  content = {'environment': ENVIRONMENT, 'config': {}, 'objective': 'eval/accuracy', 'best': 'bb'}
  directory.mkdir()
  (directory / 'sweep.json').write_text(json.dumps(content | {'trials': [trial, failed, better]}))
  return directory


def written(tmp_path, *paths) -> str:
  page.write(paths, tmp_path / 'report.html')
  return (tmp_path / 'report.html').read_text()


def saved(path, content: dict):
  path.write_text(json.dumps(content))
  return path


@pytest.fixture
def everything(tmp_path):
  """One of every kind of run, with hostile names wherever a user may put a name."""
  result = headline({'none': [0.6, 0.62, 0.58], 'classic': [0.8, 0.83, 0.79], 'gan': [None] * 3}, title=HOSTILE)
  folder = tmp_path / 'a <script>'
  runs = [trained(folder / f'seed{i}', i, {5: 3.0 + i, 10: 1.0 + i}, name=HOSTILE) for i in (0, 1)]
  other = trained(tmp_path / 'other', 0, {5: 2.0, 10: 0.5}, name=HOSTILE, optim={'lr': 2e-3, 'b1': 0.5})
  seeds = ROOT / 'experiments' / 'results' / 'gan_mnist5k.json'
  return [saved(tmp_path / 'h.json', result | {'data': HOSTILE}), *runs, other, seeds, sweep(tmp_path / 'sweep')]


def test_trials_of_a_minimised_score_begin_with_the_lowest(tmp_path):
  trials = [
    {'id': name, 'overrides': {}, 'status': 'stopped', 'mean': mean} for name, mean in (('worse', 9), ('better', 2))
  ]
  content = {'environment': ENVIRONMENT, 'config': {}, 'objective': 'eval/fd', 'best': None, 'trials': trials}
  (tmp_path / 'sweep').mkdir()
  saved(tmp_path / 'sweep' / 'sweep.json', content)
  text = written(tmp_path, tmp_path / 'sweep')
  assert text.index('>better<') < text.index('>worse<')


def test_a_page_of_everything_nests_and_holds_no_script_and_no_address(tmp_path, everything):
  text = written(tmp_path, *everything)
  parsed = Parsed(text)
  assert not {'script', 'iframe', 'object'} & {tag for tag, _ in parsed.tags}
  assert HOSTILE in parsed.text
  assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith('on')]
  addresses = [value for _, attributes in parsed.tags for key, value in attributes.items() if key in ('src', 'href')]
  assert len(addresses) == 4
  assert all(address.startswith('data:image/png;base64,') for address in addresses)
  assert not re.search(r'url\(|@import|https?://', text)
  assert str(tmp_path) not in text


def test_figures_are_those_of_the_files(tmp_path, everything):
  parsed = Parsed(written(tmp_path, *everything))
  rows = {row[0]: row[1:] for row in parsed.rows}
  difference = json.loads(everything[0].read_text())['per_class']['10']['rows']['classic']['to_none']
  low, high = (100 * bound for bound in difference['interval_95'])
  assert rows['classic'][1] == f'+{100 * difference["mean"]:.1f} [+{low:.1f}, +{high:.1f}]' == '+20.7 [+20.0, +21.0]'
  assert rows[HOSTILE] == ['failed (3 of 3 failed)', '', '', '', '0']
  assert rows['a <script>: mean of 2 seeds'][1].startswith('0.55 ± ')
  assert rows[f'{tmp_path.name}/other'][1] == '0.5'
  assert rows['optim.lr'] == ['0.0008', '0.001', '0.002']
  assert 'optim.b1' not in rows
  assert [row[:4] for row in parsed.rows if row[0] in ('bb (best)', 'aa', 'cc')] == [
    ['bb (best)', 'finished', '0.625', '0.5, 0.75'],
    ['aa', 'finished', '0.5', '0.25, 0.75'],
    ['cc', 'failed', '', ''],
  ]
  assert 'python -m experiments.train --config c.py' in parsed.text


def _circles(svg: str, css: str) -> list[tuple[float, float]]:
  found = re.findall(rf'<circle cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+" class="{css}', svg)
  return [(float(x), float(y)) for x, y in found]


def _tick(svg: str, label: str, axis: str) -> float:
  return float(re.search(rf'<text x="([\d.]+)" y="([\d.]+)" [^>]*class="tick">{label}<', svg)['xy'.index(axis) + 1])


def test_a_mean_lands_where_the_axis_says():
  rows = [charts.Interval('a', '', 75.0, 71.0, 79.0, [71.0, 79.0]), charts.Interval('b', '', 60.0, 60.0, 60.0)]
  svg = charts.forest('t', rows, reference=60.0)
  sixty, eighty = (_tick(svg, label, 'x') for label in ('60', '75'))
  (a, first), (b, second) = _circles(svg, 'mean')
  assert (a, b) == pytest.approx((eighty, sixty), abs=0.11)
  assert second > first
  ends = re.search(r'<line x1="([\d.]+)" [^>]*x2="([\d.]+)" [^>]*class="interval', svg)
  per_unit = (eighty - sixty) / 15
  assert (float(ends[1]), float(ends[2])) == pytest.approx((a - 4 * per_unit, a + 4 * per_unit), abs=0.2)
  assert [x for x, _ in _circles(svg, 'point')] == [float(ends[1]), float(ends[2])]


def test_a_curve_is_the_mean_of_seeds_in_a_band_from_lowest_to_highest(tmp_path):
  paths = [trained(tmp_path / 'runs' / f'seed{i}', i, {50: 30.0 + 10 * i, 100: 0.0 + 10 * i}) for i in (0, 1)]
  (group,) = runs.read(paths).groups
  assert group.name == 'runs'
  figure = page.curve('train/loss', [group])
  curve = re.search(r'<polyline points="([^"]+)"', figure)[1].split()
  band = re.search(r'<polygon points="([^"]+)"', figure)[1].split()
  y = charts.scale(0, 40, _tick(figure, '0', 'y') - 4, _tick(figure, '40', 'y') - 4)
  assert [float(point.split(',')[1]) for point in curve] == pytest.approx([y(35), y(5)], abs=0.15)
  assert [float(point.split(',')[1]) for point in band] == pytest.approx([y(40), y(10), y(0), y(30)], abs=0.15)
  assert float(curve[-1].split(',')[0]) == pytest.approx(_tick(figure, '100', 'x'), abs=0.11)


def test_the_same_seed_twice_is_not_two_seeds(tmp_path):
  paths = [trained(tmp_path / name, seed, {5: 1.0, 10: 2.0}) for name, seed in (('a', 0), ('b', 1), ('c', 0))]
  assert [[run.seed for run in group.runs] for group in runs.read([*paths, paths[0]]).groups] == [[0, 1], [0]]


@pytest.mark.parametrize(('low', 'high'), [(0.03, 0.97), (-521.3, -98.1), (0, 4000), (1e-5, 3e-5)])
def test_ticks_are_round_and_inside(low, high):
  found = charts.ticks(low, high, 4)
  assert 2 <= len(found) <= 5
  assert all(low <= tick <= high for tick in found)
  assert all(tick == float(f'{tick:.2g}') for tick in found)


@pytest.mark.parametrize('case', ['nothing', 'empty', 'prose', 'list', 'other json'])
def test_what_is_no_run_is_refused_and_nothing_written(tmp_path, case):
  path = tmp_path / 'run'
  contents = {'prose': 'hello', 'list': '[1]', 'other json': '{"runs": []}'}
  if case in contents:
    path.write_text(contents[case])
  elif case == 'empty':
    path.mkdir()
  with pytest.raises(InputError, match=f'RUNS = .*{re.escape(str(path))}'):
    written(tmp_path, path)
  assert not (tmp_path / 'report.html').exists()


def test_only_a_report_is_overwritten(tmp_path):
  path = saved(tmp_path / 'h.json', headline({'none': [0.5, 0.6]}))
  first = written(tmp_path, path)
  saved(path, headline({'none': [0.25, 0.25]}))
  assert '25.0 %' in written(tmp_path, path)
  assert '25.0 %' not in first
  (tmp_path / 'report.html').write_text('<html>my thesis</html>')
  with pytest.raises(InputError, match=r'report.html.*exists and is no report'):
    written(tmp_path, path)
  assert (tmp_path / 'report.html').read_text() == '<html>my thesis</html>'


def test_the_program_takes_any_number_of_runs(tmp_path, forked):
  some = [trained(tmp_path / name, 0, {5: 1.0, 10: 2.0}) for name in 'ab']
  done = forked('experiments.report', *some, f'--output={tmp_path / "out.html"}')
  assert done.returncode == 0, done.stderr
  assert Parsed((tmp_path / 'out.html').read_text()).rows
  done = forked('experiments.report', *some, tmp_path / 'c', f'--output={tmp_path / "no.html"}')
  assert done.returncode == 2
  assert f"{tmp_path / 'c'}': no such file" in done.stderr
  assert 'Traceback' not in done.stderr
  assert not (tmp_path / 'no.html').exists()


def test_the_readme_gets_the_headline_and_no_place_of_this_machine(tmp_path, forked):
  results, readme = tmp_path / 'results', tmp_path / 'README.md'
  results.mkdir()
  command = ['python', '-m', 'experiments.reproduce', 'headline', '--data_dir', '/here', '--config.per_class=(10,)']
  content = headline({'none': [0.6, 0.61], 'classic': [0.7, 0.72]}) | {'command': command}
  saved(results / 'headline_digits.json', content)
  shutil.copy(ROOT / 'README.md', readme)
  assert forked('experiments.report', f'--results={results}', f'--readme={readme}').returncode == 0
  section = readme.read_text().partition('<!-- headline -->')[2].partition('<!-- end of headline -->')[0]
  assert '| classic | 71.0 [70.0, 72.0] | **+10.5 [+10.0, +11.0]** |' in section
  assert '1,000 test images' in section
  assert "`python -m experiments.reproduce headline '--config.per_class=(10,)'`" in section
  assert section.strip() in (results / 'README.md').read_text()
  assert '[Radford et al. 2016](https://arxiv.org/abs/1511.06434)' in readme.read_text()
  readme.write_text(readme.read_text().replace('<!-- configs -->', ''))
  done = forked('experiments.report', f'--results={results}', f'--readme={readme}')
  assert (done.returncode, 'no section configs' in done.stderr) == (2, True)


def test_generators_are_compared_in_the_order_of_their_table(tmp_path, forked):
  protocol = {'eval/samples': 1000, 'eval/reference_samples': 10_000, 'eval/reference_split': 'test'}
  protocol |= {
    'eval/network': 'alexnet relu5',
    'eval/baseline_samples': 200,
    'eval/fd_baseline': 5.125,
    'eval/authpct_baseline': 61,
  }

  def row(title, *distances, copies=0):
    curve = [{'step': 10, 'train/loss': 1.0, 'eval/fd': 30.0}]
    runs = [
      {'seed': i, 'seconds': 60, 'eval/fd': d, 'eval/authpct': 60 - copies, **protocol, 'curve': curve}
      for i, d in enumerate(distances)
    ]
    return {'title': title, 'config': {'train': {'steps': 20}}, 'runs': runs, 'summary': summarise(runs)}

  content = {
    'title': 'few images',
    'order': ['dcgan', 'flow', 'memoriser', 'not trained yet'],
    'command': ['python', '-m', 'experiments.compare', '--workdir=/here', '--tables=few'],
    'rows': {
      'flow': row('flow matching', 6.0),
      'dcgan': row('DCGAN', 9.0, 10.0, 11.0),
      'memoriser': row('memoriser', 5.0, copies=30),
    },
  }
  results = tmp_path / 'results'
  results.mkdir()
  saved(results / 'generators_few.json', content)
  for file in ('README.md', 'experiments/results/headline_mnist5k.json'):
    shutil.copy(ROOT / file, results if file.endswith('json') else tmp_path)
  assert forked('experiments.report', f'--results={results}', f'--readme={tmp_path / "README.md"}').returncode == 0
  section = (results / 'README.md').read_text().partition('### few images')[2].splitlines()
  assert section[2:10] == [
    'Lowest FD: flow matching (6.00), then DCGAN (10.00 ± 2.48); flow matching of one seed. Left out, as its AuthPct'
    ' says copies: memoriser.',
    '',
    '| model | seeds | steps | minutes | FD | AuthPct | FD at evaluations before |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    '| DCGAN | 3 | 20 | 1.0 | 10.00 ± 2.48 | 60 ± 0 | 30.00 |',
    '| flow matching | 1 | 20 | 1.0 | 6.00 | 60 | 30.00 |',
    '| memoriser | 1 | 20 | 1.0 | 5.00 | 30 | 30.00 |',
    '| real images |  |  |  | 5.12 | 61 |  |',
  ]
  assert '1,000 samples v 10,000 of test, alexnet relu5; baseline of 200 training images' in section
  assert '`python -m experiments.compare --tables=few`' in section


def _published(*keys):
  """Files of results that have all these keys."""
  paths = sorted((ROOT / 'experiments' / 'results').glob('*.json'))
  found = [path for path in paths if set(keys) <= json.loads(path.read_text()).keys()]
  assert found
  return pytest.mark.parametrize('path', found, ids=lambda path: path.stem)


def _rounded(value):
  return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 9))


@_published('per_class')
def test_published_intervals_are_those_of_the_raw_runs(path):
  for cell in json.loads(path.read_text())['per_class'].values():
    raw = {name: {key: row[key] for key in ('title', 'runs')} for name, row in cell['rows'].items()}
    assert _rounded(compared(raw, 'accuracy')) == _rounded(cell['rows'])


@_published('order', 'rows')
def test_published_means_of_rows_are_those_of_their_runs(path):
  for row in json.loads(path.read_text())['rows'].values():
    assert _rounded(summarise(row['runs'])) == _rounded(row['summary'])


@_published('runs', 'summary')
def test_published_means_are_those_of_the_runs(path):
  content = json.loads(path.read_text())
  assert _rounded(summarise(content['runs'])) == _rounded(content['summary'])


FRAME = '<iframe srcdoc="{page}" style="width:{width}px; height:900px; border:0"></iframe>'
MEASURE = """<script>onload = () => {
  const frames = [...document.querySelectorAll('iframe')];
  document.title = frames.map(frame => {
    const root = frame.contentDocument.documentElement;
    return [frame.contentWindow.innerWidth, root.scrollWidth, root.querySelectorAll('tr').length].join(' ');
  }).join(', ');
};</script>"""


def test_codecs_are_compared_where_models_take_most_bytes():
  curves = {'genaug': [[3, 24.0], [1, 20.0]], 'JPEG': [[2, 20.0], [4, 30.0]], 'WebP': [[4, 40.0], [5, 41.0]]}
  said = benchmarks._at_most_bytes({'values': 8, 'curves': curves})
  assert '3.000 bits per value, it reaches 24.00 dB; JPEG 25.00 dB, WebP takes more at every quality.' in said


def test_two_runs_of_a_table_of_operations_are_set_side_by_side():
  run = lambda commit, **ratios: {
    'environment': {'git_commit': commit * 40},
    'versions': {'kornia': '1', 'torchvision': '1' if commit == 'a' else None},
    'summary': {'32': {}, '224': {}},
    'operations': {op: {'32': {'ratio': ratio, 'best_peer': 'kornia'}} for op, ratio in ratios.items()},
  }
  here = run('a', x=1.0, y=1.0, z=1.0, new=9.0, gone=9.0)
  here['operations']['gone']['32']['best_peer'] = 'torchvision'
  about, lines = benchmarks._of_another_day(here, run('b', x=1.0, y=2.0, z=0.25, gone=1.0))
  assert 'commit aaaaaaa here, bbbbbbb then' in about
  assert '- 32x32: 1.00 here, 0.79 then, geometric means of 3 operations' in lines
  assert 'by a factor of 2.00 in the median, at most by 4.00 (`z`)' in lines
  assert benchmarks._of_another_day(run('a'), run('b')) == []


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('chromium'), reason='needs a chromium on PATH')
def test_a_browser_has_no_complaint_and_the_page_never_scrolls_sideways(tmp_path, everything):
  opened = written(tmp_path, *everything).replace('<details>', '<details open>')
  rows = opened.count('<tr>')
  frames = ''.join(FRAME.format(page=html.escape(opened), width=width) for width in (360, 1440))
  (tmp_path / 'frames.html').write_text(f'<!doctype html><title></title><body>{frames}{MEASURE}</body>')
  options = [
    '--headless',
    '--hide-scrollbars',
    '--no-sandbox',
    '--disable-gpu',
    f'--user-data-dir={tmp_path / "profile"}',
  ]
  options += ['--enable-logging=stderr', '--v=0', '--virtual-time-budget=5000', '--dump-dom']
  command = ['chromium', *options, (tmp_path / 'frames.html').as_uri()]
  done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
  assert 'CONSOLE' not in done.stderr
  assert re.search(r'<title>(.*?)</title>', done.stdout)[1] == f'360 360 {rows}, 1440 1440 {rows}'
