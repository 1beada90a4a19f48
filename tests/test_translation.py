"""From image to image: pairs and their absence, losses, learning, and a folder of files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs.families import translation
from genaug.data import pairs, sources
from genaug.errors import InputError
from genaug.losses.contrastive import patch_nce
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.models.translators import Projector, rows_of
from genaug.offline import reading
from genaug.tasks.registry import TASKS
from genaug.tasks.translation import patch_positions
from genaug.training import checks, loop
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import prepare
from tests.conftest import UNAUGMENTED, noise, own_data, png, slow_but, tiny_config

quiet = lambda _: None


def _data(root, target='', **overrides):
  config = translation.get_config().data
  small = {'name': 'image_pairs', 'folder': str(root), 'target_folder': str(target), 'image_size': 8}
  config.update(small | overrides)
  return config


def _write(folder, names, size=(8, 8)):
  """Images whose first pixel tells the number in their name."""
  folder.mkdir(parents=True, exist_ok=True)
  for name in names:
    pixels = noise(*size[::-1], 3)
    pixels[0, 0] = int(name.split('.')[0])
    (folder / name).write_bytes(png(pixels))


def _numbers(split, entry):
  return split.arrays[entry][:, 0, 0, 0]


def test_pairs_are_matched_by_name_and_kept_together(tmp_path):
  names = [f'{i}.png' for i in range(20)]
  _write(tmp_path / 'a', names)
  _write(tmp_path / 'b', names[::-1])
  found = sources.load(_data(tmp_path / 'a', tmp_path / 'b'), tmp_path / 'data', log=quiet)
  assert len(found.train.arrays['image']) + len(found.test.arrays['image']) == 20
  for split in (found.train, found.test):
    assert len(split.arrays['image'])
    np.testing.assert_array_equal(_numbers(split, 'image'), _numbers(split, 'target'))
    assert (split.arrays['image'] != split.arrays['target']).any()
  assert found.paired_test


def test_the_layout_of_pix2pix_keeps_its_splits(tmp_path):
  for split, count in (('train', 6), ('test', 3)):
    for side in 'AB':
      _write(tmp_path / 'root' / f'{split}{side}', [f'{i}.png' for i in range(count)])
  found = sources.load(_data(tmp_path / 'root'), tmp_path / 'data', log=quiet)
  assert [len(split.arrays['target']) for split in (found.train, found.test)] == [6, 3]
  np.testing.assert_array_equal(_numbers(found.train, 'image'), _numbers(found.train, 'target'))


def test_files_of_a_pair_may_end_as_their_folders_do(tmp_path):
  for split, count in (('train', 6), ('test', 3)):
    for side in 'AB':
      _write(tmp_path / 'root' / f'{split}{side}', [f'{i}.{side}.png' for i in range(count)])
      for path in (tmp_path / 'root' / f'{split}{side}').iterdir():
        path.rename(path.with_name(path.name.replace('.', '_', 1)))
  found = sources.load(_data(tmp_path / 'root'), tmp_path / 'data', log=quiet)
  np.testing.assert_array_equal(_numbers(found.train, 'image'), _numbers(found.train, 'target'))
  assert len(found.train.arrays['image']) == 6


def test_without_pairs_no_image_is_beside_its_target(tmp_path):
  """Of a data set with known pairs: those of test images stay, to score by."""
  config = tiny_config('cut')
  found = sources.load(config.data, tmp_path, log=quiet)
  swapped = lambda split: split.arrays['target'][..., ::-1]
  same = (found.train.arrays['image'] == swapped(found.train)).all((1, 2, 3))
  assert not same.any()
  assert {x.tobytes() for x in found.train.arrays['image']} == {
    np.ascontiguousarray(x).tobytes() for x in swapped(found.train)
  }
  assert not found.paired_test  # of folders nothing is known


@pytest.mark.parametrize('count', [2, 3, 50])
def test_every_target_is_moved_by_one_cycle(count):
  rows = pairs.unpaired(count, seed=0)
  assert sorted(rows) == list(range(count))
  assert (rows != np.arange(count)).all()


def test_folders_of_no_pairs_may_differ_in_number_and_names(tmp_path):
  _write(tmp_path / 'a', [f'{i}.png' for i in range(12)])
  _write(tmp_path / 'b', [f'{i}.png' for i in range(100, 130)])
  found = sources.load(_data(tmp_path / 'a', tmp_path / 'b', paired=False), tmp_path / 'data', log=quiet)
  assert len(found.train.arrays['image']) == len(found.train.arrays['target'])
  targets = [set(_numbers(split, 'target')) for split in (found.train, found.test)]
  assert targets[0] | targets[1] == set(range(100, 130))
  assert not targets[0] & targets[1]


@pytest.mark.parametrize(
  ('a', 'b', 'sizes', 'problem'),
  [
    (range(4), range(3), ((8, 8), (8, 8)), r'4 images and 3 targets; on one side only: 3 \(in a\)'),
    ((0, 1, 2), (0, 1, 5), ((8, 8), (8, 8)), r'on one side only: 2 \(in a\), 5 \(in b\)'),
    (range(3), range(3), ((8, 8), (8, 10)), r'of 8 x 8 pixels, and its target .* of 8 x 10'),
  ],
)
def test_what_are_no_pairs_is_refused_by_name(tmp_path, a, b, sizes, problem):
  for name, numbers, size in (('a', a, sizes[0]), ('b', b, sizes[1])):
    _write(tmp_path / name, [f'{i}.png' for i in numbers], size)
  with pytest.raises(InputError, match=problem):
    sources.load(_data(tmp_path / 'a', tmp_path / 'b'), tmp_path / 'data', log=quiet)


def test_images_of_one_name_are_refused_where_names_make_pairs(tmp_path):
  for side in 'ab':
    _write(tmp_path / side, [f'{i}.png' for i in range(6)])
  (tmp_path / 'a' / '3.bmp').write_bytes((tmp_path / 'a' / '4.png').read_bytes())
  with pytest.raises(InputError, match=r'data.folder = .*3\.(bmp|png) and 3\.(bmp|png) have one name'):
    sources.load(_data(tmp_path / 'a', tmp_path / 'b'), tmp_path / 'data', log=quiet)
  found = sources.load(_data(tmp_path / 'a', tmp_path / 'b', paired=False), tmp_path / 'data', log=quiet)
  assert sorted({*_numbers(found.train, 'image'), *_numbers(found.test, 'image')}) == list(range(6))


@pytest.mark.parametrize(('bits', 'white'), [(0, 4095), (16, 65535)])
def test_deep_images_of_pairs_have_one_scale(tmp_path, bits, white):
  for side in 'ab':
    (tmp_path / side).mkdir()
    for i in range(4):
      deep = np.full((8, 8), 1000 * i, np.uint16)
      deep[0, 0] = 4000
      Image.fromarray(deep).save(tmp_path / side / f'{i}.png')
  found = sources.load(_data(tmp_path / 'a', tmp_path / 'b', channels=1, bits=bits), tmp_path / 'data', log=quiet)
  levels = sorted(int(x[4, 4, 0]) for split in (found.train, found.test) for x in split.arrays['target'])
  assert levels == [round(1000 * i * 255 / white) for i in range(4)]
  shown, _, _ = reading.squares(tmp_path / 'a', (8, 8, 1), bits)
  assert sorted(int(x[4, 4, 0]) for x in shown) == levels


def test_what_was_prepared_of_pairs_is_enough_for_a_trained_run(tmp_path):
  for side in 'ab':
    _write(tmp_path / side, [f'{i}.png' for i in range(6)])
  config = _data(tmp_path / 'a', tmp_path / 'b')
  before = sources.load(config, tmp_path / 'data', log=quiet)
  (tmp_path / 'b').rename(tmp_path / 'c')
  after = sources.load(config, tmp_path / 'data', log=quiet, prepared=before.prepared)
  assert _numbers(after.train, 'target').tolist() == _numbers(before.train, 'target').tolist()


def test_missing_folders_broken_files_and_tasks_of_pairs_are_refused(tmp_path, data_dir):
  _write(tmp_path / 'a', ['0.png', '1.png'])
  with pytest.raises(InputError, match=r'has no folder trainA(?s:.*)target_folder'):
    sources.load(_data(tmp_path / 'a'), tmp_path / 'data')
  _write(tmp_path / 'b', ['0.png'])
  (tmp_path / 'b' / '1.png').write_bytes(b'no image')
  with pytest.raises(InputError, match=r'(?s)1 of 4 files:.*b/1.png'):
    sources.load(_data(tmp_path / 'a', tmp_path / 'b'), tmp_path / 'data')
  with pytest.raises(InputError, match=r"its images have no target, which task 'pix2pix' reads"):
    prepare(tiny_config('pix2pix', data__name='mnist5k', model__halvings=1), data_dir, quiet)
  with pytest.raises(InputError, match=r"data.paired = True: task 'cut' is for images that are no pairs"):
    checks.check_config(tiny_config('cut', data__paired=True))
  with pytest.raises(InputError, match=r"data.paired = False: task 'pix2pix' is for images that are pairs"):
    checks.check_config(tiny_config('pix2pix', data__paired=False))


def test_no_patch_is_drawn_twice_of_an_image_with_as_many_and_all_are():
  positions = np.asarray(patch_positions(jax.random.split(jax.random.key(0), 200), 16))
  assert positions.max() <= 1
  for pixels in (16, 36, 64):
    patch = np.asarray(rows_of(positions, pixels))
    assert all(len(set(row)) == 16 for row in patch)
    assert set(patch.flat) == set(range(pixels))


@pytest.mark.parametrize('side', [2, 8])
def test_patches_of_the_frame_are_pixels_of_it(side):
  """A position may round to 1; where there are fewer pixels than positions, all of them are taken, once."""
  taps, positions = [jnp.arange(2.0 * side**2).reshape(1, side, side, 2)], jnp.array([[0.0, 0.2, 0.5, 0.9, 1.0]])
  projector = Projector()
  params = projector.init(jax.random.key(0), taps, positions)
  (found,) = projector.apply(params, taps, positions)
  assert np.isfinite(found).all()
  assert found.shape[1] == min(5, side**2)


def test_the_contrast_of_patches_is_a_cross_entropy():
  rng = np.random.default_rng(0)
  q, k = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in rng.normal(size=(2, 2, 5, 3)))
  expected = []
  for queries, keys in zip(q, k):
    logits = queries @ keys.T / 0.07
    expected.append(np.mean(np.log(np.exp(logits).sum(1)) - np.diag(logits)))
  np.testing.assert_allclose(patch_nce(jnp.array(q), jnp.array(k)), expected, rtol=1e-4)
  same = jnp.ones((1, 8, 4)) / 2
  np.testing.assert_allclose(patch_nce(same, same), np.log(8), rtol=1e-5)
  assert not jax.grad(lambda k: patch_nce(jnp.array(q), k).sum())(jnp.array(k)).any()


@pytest.mark.parametrize('network', ['unet_translator', 'resnet_translator'])
def test_translators_keep_the_shape_and_see_every_pixel(network):
  config = tiny_config('pix2pix' if network == 'unet_translator' else 'cut')
  generator = NETWORKS[network].build(config, Spec((16, 16, 3), 0), None)['translator']
  image = jax.random.normal(jax.random.key(0), (1, 16, 16, 3))
  params = jax.jit(generator.init)(jax.random.key(1), image)

  @jax.jit
  def run(image):
    made = generator.apply(params, image)
    return made[0] if isinstance(made, tuple) else made

  assert run(image).shape == image.shape
  assert jnp.abs(run(image)).max() <= 1
  seen = jax.jit(jax.grad(lambda image: (run(image) ** 2).sum()))(image)
  assert np.isfinite(seen).all()
  assert (np.abs(seen).sum((0, 3)) > 0).all()


@pytest.mark.parametrize('method', slow_but(['cut'], translation.METHODS))
def test_red_and_blue_are_exchanged_after_some_steps(method, tmp_path):
  """The targets of these images; without pairs only their colours can tell, so of images that are reddish."""
  weights = {
    'pix2pix': {},
    'cut': {'translation__identity': 0.0, 'translation__patches': 16},
    'cyclegan': {'translation__identity': 0.0},
  }[method]
  settings = {'optim__lr': 3e-3, 'optim__schedule': 'constant', 'model__width': 8, 'translation__ema': 0.9}
  config = tiny_config(method, **weights, **UNAUGMENTED, **settings)
  task = TASKS[method].build(config, Spec((16, 16, 3), 0))
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (16, 4, 4, 3)).repeat(4, 1).repeat(4, 2) * np.array([1, 0.5, 0.2])
  batch = {'image': image.astype(np.uint8), 'label': np.zeros(16, np.int32)}
  batch['target'] = batch['image'][..., ::-1]
  if method != 'pix2pix':
    batch['target'] = batch['target'][pairs.unpaired(16, 0)]
  state, step = jax.jit(task.init)(jax.random.key(0)), jax.jit(task.train_step)
  keys = jax.random.split(jax.random.key(1), 16)
  for i in range(60):
    state, metrics = step(state, batch, jax.vmap(lambda key: jax.random.fold_in(key, i))(keys))  # noqa: B023
    assert all(np.isfinite(value) for value in metrics.values())
  made = np.asarray(jax.jit(task.samplers['translated'].sample)(state, batch, keys))
  truth, identity = batch['image'][..., ::-1] / 255, batch['image'] / 255
  error = lambda x: np.abs(x.mean((1, 2)) - truth.mean((1, 2))).mean()
  assert error(made) < 0.5 * error(identity)


def test_pairs_are_also_translated_by_residual_networks():
  config = tiny_config('pix2pix', model__network='resnet_translator')
  checks.check_config(config)
  task = TASKS['pix2pix'].build(config, Spec((16, 16, 3), 0))
  batch = {name: jnp.zeros((4, 16, 16, 3), jnp.uint8) for name in ('image', 'target')}
  keys = jax.random.split(jax.random.key(0), 4)
  state, metrics = jax.eval_shape(lambda: task.train_step(task.init(keys[0]), batch, keys))
  assert 'l1' in metrics
  made = jax.eval_shape(task.samplers['translated'].sample, state, batch, keys)
  assert made.shape == (4, 16, 16, 3)


@pytest.mark.slow
def test_accumulated_slices_are_the_whole_batch(tmp_path):
  found = []
  for slices in (1, 2):
    config = tiny_config('cut', train__accumulate=slices, translation__patches=8)
    task = TASKS['cut'].build(config, Spec((16, 16, 3), 0))
    batch = {name: noise(4, 16, 16, 3) if not found else found[0][0][name] for name in ('image', 'target')}
    keys = jax.random.split(jax.random.key(1), 4)
    metrics = jax.jit(task.train_step)(task.init(jax.random.key(0)), batch, keys)[1]
    found.append((batch, metrics))
  for name, value in found[0][1].items():
    np.testing.assert_allclose(found[1][1][name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_run_is_scored_shown_and_translates_a_folder(data_dir, tmp_path, forked):
  settings = {'train__steps': 5, 'eval__metrics': ('translation',), 'train__snapshot_every': 5}
  experiment = prepare(tiny_config('pix2pix', **settings), data_dir, quiet)
  said = []
  scores = loop.train(experiment, tmp_path / 'run', said.append)
  test = {name: array.astype(float) for name, array in experiment.dataset.test.arrays.items()}
  l1 = np.abs(test['image'] - test['target']).mean() / 255
  assert scores['eval/translation_l1_identity'] == pytest.approx(l1, rel=1e-6)
  assert 'translations: L1' in '\n'.join(said)
  with Image.open(tmp_path / 'run' / 'figures' / 'translated_000005.png') as image:
    assert image.size[1] > 2 * image.size[0] // 3  # images, translations, targets
  folder = own_data('pix2pix')['data.folder'] + '/testA'
  done = forked(
    'experiments.translate',
    f'--workdir={tmp_path / "run"}',
    f'--data_dir={data_dir}',
    f'--input={folder}',
    f'--output={tmp_path / "out"}',
  )
  assert done.returncode == 0, done.stderr
  assert len(list((tmp_path / 'out').iterdir())) == 13
  with Image.open(tmp_path / 'out' / '00.png') as image:
    assert image.size == (16, 16)


def test_unknown_pairs_are_scored_by_distances_only(data_dir):
  config = tiny_config('cut', eval__metrics=('translation',), eval__samples=40)
  experiment = prepare(config, data_dir, quiet)
  scores = Evaluator(experiment)(experiment.init())
  assert 'eval/translation_fd' in scores
  assert 'eval/translation_l1' not in scores
