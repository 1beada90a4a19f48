"""Style transfer: losses against NumPy, one network of several styles, training, files in and out."""

import functools
import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.benchmarks import stylists
from genaug.errors import InputError
from genaug.losses import perceptual
from genaug.metrics.registry import describe
from genaug.models import Spec
from genaug.models.stylizer import STYLIZER, Stylizer
from genaug.offline import reading, stylization
from genaug.tasks import style
from genaug.tasks.registry import TASKS
from genaug.training import checks, loop
from genaug.training.experiment import load_trained, prepare
from tests.conftest import STYLES, UNAUGMENTED, noise, save_untrained_run, tiny_config

SPEC = Spec((32, 32, 3), 0)  # with fewer pixels VGG's last layers fall into XLA's slow convolutions on CPU
BATCH = {'image': noise(2, 32, 32, 3) // 2 + 64, 'label': np.zeros(2, np.int32)}
KEYS = jax.random.split(jax.random.key(0), 2)


def _moved(path, x):
  """Scales and shifts that differ from style to style."""
  if 'Norm' not in jax.tree_util.keystr(path):
    return x
  return x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape)


@functools.cache
def _stylizer(norm='instance'):
  network = Stylizer(SPEC, styles=2, width=4, blocks=1, norm=norm)
  images = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))
  variables = jax.jit(network.init)(jax.random.key(2), images, jnp.array([0, 1]))
  return network, {**variables, 'params': jax.tree_util.tree_map_with_path(_moved, variables['params'])}, images


def test_gram_matrices_and_total_variation_are_numpys():
  x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)
  flat = x.reshape(2, 30, 3)
  expected = np.stack([rows.T @ rows / rows.size for rows in flat])
  np.testing.assert_allclose(perceptual.gram(x), expected, rtol=1e-5)
  expected = [
    np.mean([(b - a) ** 2 for a, b in itertools.pairwise(image)])
    + np.mean([(image[:, j + 1] - image[:, j]) ** 2 for j in range(5)])
    for image in x
  ]
  np.testing.assert_allclose(jax.jit(perceptual.total_variation)(x), expected, rtol=1e-5)
  assert np.isfinite(jax.grad(lambda x: perceptual.total_variation(x).sum())(jnp.ones((1, 4, 4, 1)))).all()


def test_an_image_in_its_own_style_loses_nothing_but_variation():
  images = jnp.asarray(BATCH['image'] / np.float32(255))
  grams = {name: perceptual.gram(x) for name, x in zip(style.LAYERS, jax.jit(style.activations)(images))}
  settings = tiny_config('style', style__style_weight=3.0, style__content_weight=2.0, style__tv_weight=0.5).style
  other = jnp.flip(images, 0)
  found = jax.jit(
    lambda x: style.losses(settings, x, style.content_of(images), style.select_grams(grams, jnp.array([0, 1])))
  )
  same, differing = found(images), found(other)
  np.testing.assert_allclose(same['content_loss'], 0, atol=1e-8)
  np.testing.assert_allclose(same['style_total'], 0.5 * perceptual.total_variation(images), rtol=1e-5)
  assert (differing['content_loss'] > 0).all()
  assert (differing['style_loss'] > 0).all()
  total = 2 * differing['content_loss'] + 3 * differing['style_loss'] + 0.5 * differing['tv_loss']
  np.testing.assert_allclose(differing['style_total'], total, rtol=1e-5)


@pytest.mark.parametrize('norm', ['instance', 'batch'])
def test_each_style_has_parameters_of_its_own(norm):
  network, variables, images = _stylizer(norm)
  apply = jax.jit(network.apply)
  first, second = (apply(variables, images, jnp.full(2, i)) for i in (0, 1))
  assert first.shape == images.shape
  assert 0 <= first.min() < first.max() <= 1
  assert np.abs(first - second).max() > 0.01

  def objective(params):
    return (network.apply({**variables, 'params': params}, images, jnp.zeros(2, int)) ** 2).sum()

  for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(objective))(variables['params'])):
    name = jax.tree_util.keystr(path)
    assert np.isfinite(gradient).all(), name
    if 'Norm' in name:
      assert np.abs(gradient[0]).max() > 0, name
      assert not gradient[1].any(), name


def test_instance_norm_sees_one_image_and_batch_norm_all_while_it_trains():
  others = jax.random.uniform(jax.random.key(9), (1, 16, 16, 3)) ** 4
  for norm, train, alike in [('instance', True, True), ('batch', True, False), ('batch', False, True)]:
    network, variables, images = _stylizer(norm)

    def run(images, network=network, variables=variables, train=train):
      return network.apply(variables, images, jnp.zeros(len(images), int), train=train, mutable='batch_stats')

    made, updated = run(images)
    beside, _ = run(jnp.concatenate([images[:1], others]))
    assert np.allclose(made[0], beside[0], atol=1e-5) == alike, (norm, train)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), updated.get('batch_stats'), variables.get('batch_stats'))
    assert all(jax.tree.leaves(moved)) == (norm == 'instance' or train)


def test_images_of_any_size_and_an_inner_part_that_no_other_frame_changes():
  network, variables, _ = _stylizer('batch')  # at fixed statistics the network is local
  wide = jax.random.uniform(jax.random.key(4), (1, 20, 140, 3))
  made = network.apply(variables, wide, jnp.array([1]))
  assert made.shape == wide.shape
  part = network.apply(variables, wide[:, :, 40:], jnp.array([1]))
  np.testing.assert_allclose(made[:, :, 100:], part[:, :, 60:], atol=1e-5)
  for shape in ((16, 18, 3), (4, 16, 3)):
    with pytest.raises(ValueError, match='multiples of 4, from 8'):
      STYLIZER.check(None, shape)


def _trained(steps, **settings):
  config = tiny_config('style', optim__lr=1e-2, model__width=8, **settings, **UNAUGMENTED)
  task = TASKS['style'].build(config, SPEC)
  state, step = jax.jit(task.init)(jax.random.key(0)), jax.jit(task.train_step)
  before = jax.jit(task.eval_step)(state, BATCH, KEYS)
  for i in range(steps):
    state, metrics = step(state, BATCH, jax.vmap(lambda key: jax.random.fold_in(key, i))(KEYS))  # noqa: B023
    assert all(np.isfinite(value) for value in metrics.values())
  return before, jax.jit(task.eval_step)(state, BATCH, KEYS), state, task


def test_losses_fall():
  before, after, state, _ = _trained(8)
  for name in ('style_total', 'style_loss'):
    assert (after[name] < 0.9 * before[name]).all()
  assert state.extra['grams']['relu4_3'].shape == (2, 512, 512)


@pytest.mark.slow
@pytest.mark.parametrize('norm', ['instance', 'batch'])
def test_images_get_nearer_to_the_style_that_they_are_in_than_to_the_other(norm):
  _, _, state, task = _trained(60, model__norm=norm, train__accumulate=1 + (norm == 'batch'))
  assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(state.stats))
  images = jax.jit(task.samplers['stylized'].sample)(state, BATCH, None)
  taps = jax.jit(style.activations)(images)
  own, other = (
    perceptual.style_distance(taps, list(style.select_grams(state.extra['grams'], jnp.array(styles)).values()))
    for styles in ((0, 1), (1, 0))
  )
  assert (own < other).all()


def test_pixels_get_better_step_by_step():
  config = tiny_config('style')
  state = jax.jit(TASKS['style'].build(config, SPEC).init)(jax.random.key(0))
  images = jnp.asarray(BATCH['image'] / np.float32(255))
  grams = style.select_grams(state.extra['grams'], jnp.array([0, 1]))
  content = jax.jit(style.content_of)(images)
  score = jax.jit(lambda images: style.losses(config.style, images, content, grams)['style_total'])
  for made in stylization.Painter(config.style)(images, grams, 3):
    assert 0 <= made.min() < made.max() <= 1
  assert (score(made) < 0.9 * score(images)).all()


# ---------------------------------------------------------------- files and programs


@pytest.mark.parametrize(
  ('images', 'message'),
  [
    ((), 'not paths'),
    ('a.jpg', 'not paths'),
    (('nowhere.jpg',), r"'nowhere\.jpg': no such file"),
    ((__file__,), 'no image that can be read'),
    ((STYLES[0], STYLES[0]), 'two styles would be called stripes'),
  ],
)
def test_styles_that_are_no_images_are_refused_in_words(images, message):
  config = tiny_config('style').unlock()
  del config.style.images
  config.style.images = images
  with pytest.raises(InputError, match=message):
    TASKS['style'].check_files(config)


def test_other_settings_are_refused_in_words(data_dir):
  with pytest.raises(InputError, match=r'model\.norm'):
    checks.check_config(tiny_config('style', model__norm='group'))
  with pytest.raises(InputError, match=r'style\.images'):  # before data are read
    prepare(tiny_config('style', style__images=(), data__name='none'), data_dir)


def test_style_images_are_upright_on_white_and_of_the_data(tmp_path):
  path = tmp_path / 'flag.png'
  pixels = np.zeros((20, 40, 4), np.uint8)
  pixels[:, :20, :] = (255, 0, 0, 255)
  exif = Image.Exif()
  exif[0x0112] = 3  # turned by 180 degrees
  Image.fromarray(pixels).save(path, exif=exif)
  read = style._read(str(path), (10, 10, 3))
  np.testing.assert_array_equal(read[:, 1:4], 255)
  np.testing.assert_array_equal(read[:, 6:9], np.broadcast_to((255, 0, 0), (10, 3, 3)))
  grey = style._read(str(path), (10, 10, 1))
  assert grey.shape == (10, 10, 1)
  config = tiny_config('style', style__scale=2.0)
  assert style._shape(config, (28, 24, 1)) == (56, 56, 1)


@pytest.fixture(scope='module')
def run(data_dir, tmp_path_factory):
  """A workdir whose style files are gone, before the first step."""
  directory = tmp_path_factory.mktemp('style')
  styles = [directory / f'{name}.png' for name in ('stripes', 'dots')]
  for path, original in zip(styles, STYLES):
    path.write_bytes(pathlib.Path(original).read_bytes())
  config = tiny_config('style', style__images=tuple(map(str, styles)), **UNAUGMENTED)
  experiment = prepare(config, data_dir, lambda _: None)
  state = experiment.init()
  params = jax.tree_util.tree_map_with_path(_moved, state.params)
  save_untrained_run(directory / 'run', experiment, state.replace(params=params))
  for path in styles:
    path.unlink()
  return directory / 'run'


@pytest.mark.slow
def test_a_run_is_scored_and_pictured(data_dir, tmp_path):
  settings = {'train__steps': 4, 'train__checkpoint_every': 2, 'train__batch_size': 4, 'eval__every': 4}
  config = tiny_config('style', eval__metrics=('style',), **settings)
  config.data.update({'per_class': 2, 'validation': 1})  # 10 test images
  scores = loop.train(prepare(config, data_dir, lambda _: None), tmp_path, lambda _: None)
  total = scores['eval/content_loss'] + config.style.style_weight * scores['eval/style_loss']
  assert total < scores['eval/style_total'] < total + 2 * config.style.tv_weight  # of pixels in [0, 1]
  assert scores['eval/style_images'] == 10
  assert 'of content' in describe(scores)
  assert (tmp_path / 'figures' / 'stylized_000004.png').exists()


def test_a_folder_is_stylised_in_all_styles(run, tmp_path, forked):
  folder = tmp_path / 'in' / 'some'
  folder.mkdir(parents=True)
  rgba = np.concatenate([noise(9, 14, 3), np.arange(126, dtype=np.uint8).reshape(9, 14, 1)], -1)
  Image.fromarray(rgba).save(folder / 'odd.png')
  Image.fromarray(noise(12, 8)).save(tmp_path / 'in' / 'some' / 'grey.jpg')
  (folder / 'broken.png').write_bytes(b'no image')
  done = forked('experiments.stylize', f'--workdir={run}', f'--input={folder.parent}', f'--output={tmp_path / "out"}')
  assert done.returncode == 1  # as some may miss the broken one
  assert 'broken.png does not decode' in done.stderr
  assert '2 images in stripes, dots' in done.stdout
  seen = {}
  for name in ('stripes', 'dots'):
    with Image.open(tmp_path / 'out' / name / 'some' / 'odd.png') as image:
      seen[name] = np.asarray(image)
    assert (tmp_path / 'out' / name / 'some' / 'grey.png').exists()
  assert seen['dots'].shape == (9, 14, 2)  # the network is of grey images
  np.testing.assert_array_equal(seen['dots'][..., 1], rgba[..., 3])
  assert (seen['dots'] != seen['stripes']).any()


def test_one_style_of_one_file_and_what_is_refused(run, data_dir, tmp_path, forked):
  experiment, state = load_trained(run, data_dir, 'latest', lambda _: None, images=False)
  stylist = stylization.Stylist(experiment.config, experiment.spec, state)
  assert stylist.numbers(['1', 'stripes', 'dots']) == [1, 0]
  pixels = noise(16, 16, 1)
  expected = jax.jit(experiment.task.samplers['stylized'].sample)(state, {'image': pixels[None].repeat(2, 0)}, None)
  for i in (0, 1):
    np.testing.assert_allclose(stylist(pixels, i), expected[i] * 255, atol=0.51)
  Image.fromarray(pixels[..., 0]).save(tmp_path / 'a.png')
  flags = [f'--workdir={run}', f'--input={tmp_path / "a.png"}', f'--output={tmp_path / "out"}']
  done = forked('experiments.stylize', *flags, '--styles=waves')
  assert done.returncode == 2
  assert 'any of stripes (0), dots (1)' in done.stderr
  assert not (tmp_path / 'out').exists()
  found = reading.items_of(tmp_path / 'a.png')
  assert list(stylization.write(stylist, found, [1], tmp_path / 'out')) == found.items
  with Image.open(tmp_path / 'out' / 'a.png') as image:
    np.testing.assert_array_equal(np.asarray(image), stylist(pixels, 1)[..., 0])
  assert 'output = ' in forked('experiments.stylize', *flags).stderr
  Image.fromarray(pixels[..., 0]).save(tmp_path / 'a.jpg')
  with pytest.raises(InputError, match='would get one name'):
    reading.items_of(tmp_path)
  with pytest.raises(InputError, match='has no styles'):
    stylization.Stylist(tiny_config('vae'), SPEC, state)


@pytest.mark.slow
def test_a_network_is_compared_with_steps_on_the_pixels(run, data_dir, tmp_path, monkeypatch):
  monkeypatch.setattr(stylists, 'STEPS', (2, 4))
  result = stylists.table(run, data_dir, 3, tmp_path / 'result.json')
  methods = json.loads(json.dumps(result))['methods']
  assert list(methods) == ['original', 'network', '2 steps', '4 steps']
  assert methods['4 steps']['style_total'] < methods['2 steps']['style_total'] < methods['original']['style_total']
  assert methods['4 steps']['seconds'] > methods['network']['seconds'] > 0
  assert (tmp_path / 'result.png').exists()
