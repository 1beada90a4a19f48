"""Tables of speed and features, as far as they go without the peers."""

import json

import jax
import jax.numpy as jnp
import pytest

from experiments import features
from experiments.benchmarks import curves, layers, peers, processes, programs, throughput
from experiments.report import benchmarks
from genaug.errors import InputError
from genaug.training import workdir
from tests.conftest import ROOT


@pytest.mark.parametrize('op', peers.OPS)
def test_ours_is_there_and_takes_the_parameters_of_the_table(op):
  batch = jax.ShapeDtypeStruct((4, 32, 32, 3), jnp.float32)
  seed = jax.ShapeDtypeStruct((), jnp.uint32)
  image = jax.eval_shape(programs.jax_step('genaug', op, 32), seed, batch)['image']
  side = {'center_crop': 28, 'pad': 40, 'resize': 48}.get(op, 32)
  assert (image.shape, image.dtype) == ((4, side, side, 3), jnp.float32)


def test_every_operation_has_a_known_peer_and_a_row_of_features():
  for library in peers.LIBRARIES.values():
    assert set(library.OPS) <= set(peers.OPS)
  for op in peers.OPS:
    libraries = set(peers.libraries_with(op))
    assert len(libraries) >= 2
    known = {library for library, name in features.FEATURES[op].items() if name}
    assert libraries & features.VERSIONS.keys() <= known


def test_a_program_of_a_library_is_measured_in_a_process_of_its_own():
  with processes.worker() as worker:
    program = processes.Program([worker], 'p', programs.make, 'pillow', 'hflip', 32, 'uint8', threads=1)
    assert program.report['shape'] == [32, 32, 3]
    assert program.report['results_of_one_image'] == 1
    assert program.milliseconds(2) > 0
    with pytest.raises(RuntimeError, match='KeyError'):
      processes.Program([worker], 'p', programs.make, 'pillow', 'elastic', 32, 'uint8', threads=1)


def test_a_peer_is_measured_in_float32_where_it_takes_that():
  assert ('opencv', 'float32') in peers.programs('rotate')
  assert ('opencv', 'uint8') in peers.programs('rotate')
  assert [dtype for library, dtype in peers.programs('equalize') if library == 'opencv'] == ['uint8']
  assert ('genaug', 'uint8') in peers.programs('rotate')  # Pillow takes nothing else
  assert ('genaug', 'uint8') not in peers.programs('elastic')
  assert peers.marks('pillow', 'rotate') == ['uint8']
  assert peers.marks('kornia', 'rand_augment') == ['one draw for the whole batch']
  assert peers.marks('kornia', 'rotate') == []


def test_the_table_has_figures_of_the_peers_that_are_here(tmp_path, monkeypatch):
  some = {name: peers.LIBRARIES[name] for name in ('genaug', 'pillow')}  # others may be here as well
  monkeypatch.setattr(peers, 'LIBRARIES', some)
  result = throughput.table(tmp_path / 'out.json', ['posterize'], False, threads=1, rounds=1, seconds=0)
  assert json.loads((tmp_path / 'out.json').read_text())['operations'] == result['operations']
  for cell in result['operations']['posterize'].values():
    speeds = cell['images_per_s']
    assert cell['best_peer'] == 'pillow'
    assert cell['compared'] == 'genaug uint8'  # Pillow takes nothing else
    assert cell['ratio'] == pytest.approx(speeds['genaug uint8'] / speeds['pillow'], rel=1e-2)
    copied = speeds['genaug uint8'] / speeds['copy uint8']
    assert cell['of_a_copy']['genaug uint8'] == pytest.approx(copied, rel=1e-2)
    assert cell['marks'] == {'pillow': ['uint8']}
    assert not cell['notes']


@pytest.mark.parametrize('layer', layers.LAYERS.values(), ids=layers.LAYERS)
@pytest.mark.parametrize('native', [False, True])
def test_single_convolutions_have_the_shapes_that_are_measured(layer, native):
  images, kernel, result = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in layers.shapes(layer))
  assert jax.eval_shape(layers.convolution(layer, native), images, kernel) == result


def test_pictures_differ_and_fill_the_range():
  images = programs.pictures(32, 8)
  assert (images.shape, images.dtype) == ((8, 32, 32, 3), jnp.float32)
  assert len({image.tobytes() for image in images}) == 8
  assert 0 <= images.min() < 0.1
  assert 0.9 < images.max() <= 1


def test_summary_is_the_geometric_mean_and_names_what_is_slow():
  cells = {'a': {'32': {'ratio': 4.0}}, 'b': {'32': {'ratio': 0.25}, '224': {'ratio': None}}}
  assert throughput.summary(cells) == {'32': {'operations': 2, 'geometric_mean': 1.0, 'below_0.5': {'b': 0.25}}}


def test_names_of_installed_libraries_exist():
  assert features.verify() == []


def test_every_feature_of_ours_is_backed_by_a_test_that_exists():
  for feature, names in features.FEATURES.items():
    file, _, test = names['genaug'].partition('::')
    assert f'def {test}(' in (ROOT / file).read_text(), feature


def test_a_curve_has_its_exponent_and_its_knee():
  assert curves.exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
  assert curves.knee([16, 32, 64, 128], [1.0, 1.2, 2.0, 4.1]) == 64


def test_curves_go_on_where_they_stopped_and_are_rendered(tmp_path):
  axes = {'batch': curves.BATCHES, 'side': curves.SIDES}
  make = lambda n: {'seconds': n / 1e3, 'mib': 10 + n / 4, 'gflop': 1.0}
  points = {kind: {axis: {str(n): make(n) for n in numbers} for axis, numbers in axes.items()} for kind in curves.KINDS}
  points['dcgan']['devices'] = {str(n): make(n) for n in curves.DEVICES}
  del points['input step']['batch']['16']
  output, said = tmp_path / 'step_curves.json', []
  output.write_text(json.dumps({'points': points, 'streamed': 1.01, 'what': '', 'environment': workdir.environment()}))
  result = curves.table(output, 1, 1, said.append)
  (line,) = said
  assert line.startswith('input step, batch 16: ')
  assert 0 < result['points']['input step']['batch']['16']['seconds'] < 60
  text = '\n'.join(benchmarks._curves(json.loads(output.read_text())))
  assert '| dcgan | 16 | 1.00 | 1.00 |' in text
  assert '1.010 of the time' in text
  broken = json.loads(output.read_text())
  broken['environment']['packages']['jax'] = '0.1'
  output.write_text(json.dumps(broken))
  with pytest.raises(InputError, match=r'another environment \(packages differ\)'):
    curves.table(output, 1, 1, said.append)
  del broken['streamed'], broken['points']['input step']['side']
  assert 'input step | batch | 16' in '\n'.join(benchmarks._curves(broken))


def test_made_up_devices_are_those_of_one_process_alone():
  with processes.worker(devices=2) as two, processes.worker() as one:
    assert [process.submit(_devices).result() for process in (two, one)] == [2, 1]


def _devices() -> int:
  return jax.device_count()
