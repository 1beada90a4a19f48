"""Files of compressed images: the same pixels in another process, the size that the model promises, refusals."""

import json
import struct
import zlib

import jax
import numpy as np
import pytest
from PIL import Image

from genaug.errors import InputError
from genaug.models import Spec
from genaug.offline import container, lossless, lossy, reading
from genaug.tasks.registry import TASKS
from genaug.training.experiment import prepare
from tests.conftest import random_params, save_untrained_run, slow_but, tiny_config

LIKELIHOODS = {'discretized_logistic': 1, 'logistic_mixture': 3}


def _codec(likelihood='discretized_logistic', channels=1, seed=0, **overrides):
  config = tiny_config('vae', model__z_dim=4, vae__likelihood=likelihood, **overrides)
  spec = Spec((8, 8, channels), 0)
  return lossless.Codec(config, spec, TASKS['vae'].build(config, spec).init(jax.random.key(seed)))


def _images(count, channels=1):
  rng = np.random.default_rng(count)
  smooth = 40 * rng.normal(size=(count, 1, 1, channels)) + 5 * rng.normal(size=(count, 8, 8, channels)) + 128
  return np.clip(smooth, 0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def codec():
  return _codec()


@pytest.fixture(scope='module')
def content(codec):
  return codec.compress(_images(20), [f'{i}.png' for i in range(20)]).content


@pytest.mark.parametrize('likelihood', slow_but(('logistic_mixture',), LIKELIHOODS))
def test_images_come_back_and_take_what_the_model_says(likelihood):
  """37: two full batches and a part of one."""
  channels = LIKELIHOODS[likelihood]
  images, codec = _images(37, channels), _codec(likelihood, channels)
  found = codec.compress(images)
  np.testing.assert_array_equal(codec.decompress(found.content)[0], images)
  payload = len(found.content) - found.header_bytes - found.initial_bits / 8
  assert payload == pytest.approx(found.bound_bits / 8, rel=0.01)
  assert found.initial_bits < 16 * 4 * 20, 'more than the first latents take'


def test_latents_are_drawn_near_their_means_and_cost_what_their_density_says():
  """On one grid for all, every point of which has some probability, one latent in 4,000 would lie anywhere."""
  rng = np.random.default_rng(0)
  std = np.concatenate([np.full(50_000, 4.0), rng.uniform(0.5, 512, 5000)])
  mean = rng.normal(0, 300, len(std))
  coder = lossless.AnsCoder(rng.integers(0, 2**32, 100_000, dtype=np.uint32), True)
  bits = coder.num_bits()
  z = lossless.draw(coder, mean, std)
  deviations = (z - mean) / std
  assert abs(deviations).max() < 17
  nats = 0.5 * deviations**2 + np.log(std) + 0.5 * np.log(2 * np.pi)
  assert bits - coder.num_bits() == pytest.approx(nats.sum() / np.log(2), rel=1e-3)
  lossless.put_back(coder, z, mean, std)
  assert coder.num_bits() == bits


def test_one_image_is_a_file_too(codec):
  images = _images(1)
  np.testing.assert_array_equal(codec.decompress(codec.compress(images).content)[0], images)


def test_another_model_is_refused(content):
  with pytest.raises(InputError, match='another model'):
    _codec(seed=1).decompress(content)


def _with_header(content, **changed):
  start = len(container._MAGIC)
  (size,) = struct.unpack('<I', content[start : start + 4])
  packed = content[start + 8 : start + 8 + size]
  packed = zlib.compress(json.dumps(json.loads(zlib.decompress(packed[:-4])) | changed).encode()) + packed[-4:]
  return content[:start] + struct.pack('<II', len(packed), zlib.crc32(packed)) + packed + content[start + 8 + size :]


@pytest.mark.parametrize(
  ('changed', 'message'),
  [
    ({'jax': '0.1'}, r'with jax 0\.1, here'),
    ({'machine': 'abacus'}, 'machine abacus, here'),
    ({'shapes': [[8, 8]] * 10**3}, 'not as experiments.compress writes it'),
    ({'names': 7}, 'not as experiments.compress writes it'),
    ({'shapes': [[8, -8]] * 20}, 'not as experiments.compress writes it'),
    ({'names': ['a.png'] * 20}, 'not as experiments.compress writes it'),
    ({'names': [f'../{i}.png' for i in range(20)]}, 'lead out of the folder'),
    ({'pixels': 1}, 'not what was encoded'),
  ],
)
def test_other_versions_and_what_does_not_add_up_are_refused(codec, content, changed, message):
  with pytest.raises(InputError, match=message):
    codec.decompress(_with_header(content, **changed))


def test_damaged_files_are_refused(codec, content):
  """200 of them: a bit turned, bytes cut from the end or the beginning, or put in."""
  rng = np.random.default_rng(0)
  for i in range(200):
    place, kind = int(rng.integers(len(content))), i % 4
    damaged = [
      content[:place] + bytes([content[place] ^ (1 << int(rng.integers(8)))]) + content[place + 1 :],
      content[:place],
      content[place + 1 :],
      content[:place] + bytes([7]) + content[place:],
    ][kind]
    with pytest.raises(InputError, match=r'damaged|not a file of'):
      codec.decompress(damaged)


@pytest.mark.parametrize(
  ('key', 'settings'),
  [
    ('vae.likelihood', {}),
    ('model.network', {'model__network': 'ladder_vae'}),
    ('model.conditional', {'model__conditional': True}),
    ('vae.prior', {'vae__prior': 'vamp'}),
  ],
)
def test_models_that_can_not_compress_are_refused(key, settings):
  likelihood = 'bernoulli' if key == 'vae.likelihood' else 'logistic_mixture'
  with pytest.raises(InputError, match=key):
    lossless.Codec(tiny_config('vae', vae__likelihood=likelihood, **settings), Spec((8, 8, 1), 0), None)


def test_images_that_do_not_fit_are_listed(tmp_path):
  for name, size in (('a.png', (8, 8)), ('a.bmp', (8, 8)), ('b.png', (9, 8)), ('c.png', (8, 8))):
    Image.new('L', size).save(tmp_path / name)
  (tmp_path / 'c.png').write_bytes(b'no image')
  with pytest.raises(InputError) as refused:
    reading.exact_images(tmp_path, (8, 8, 1))
  for line in ('4 of 4', 'a.png is not the only one', 'a.bmp is not', 'b.png is 8 x 9 x 1', 'c.png'):
    assert line in str(refused.value)


def test_what_reading_would_change_is_refused_and_masks_are_images(tmp_path):
  frames = [Image.new('L', (8, 8), grey) for grey in (0, 255)]
  frames[0].save(tmp_path / 'moves.gif', save_all=True, append_images=frames[1:])
  Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / 'deep.png')
  Image.new('CMYK', (8, 8)).save(tmp_path / 'ink.tiff')
  with pytest.raises(InputError) as refused:
    reading.exact_images(tmp_path, (8, 8, 1))
  for line in ('moves.gif has 2 frames', 'deep.png has more than 8 bits', 'ink.tiff has colours of mode CMYK'):
    assert line in str(refused.value)
  for path in tmp_path.iterdir():
    path.unlink()
  for name in ('a.png', 'a_mask.png', 'b_mask.png'):
    Image.new('L', (8, 8)).save(tmp_path / name)
  assert reading.exact_images(tmp_path, (8, 8, 1))[1] == ['a.png', 'a_mask.png', 'b_mask.png']


def test_a_folder_comes_back_in_another_process(data_dir, tmp_path, forked):
  experiment = prepare(tiny_config('vae', vae__likelihood='discretized_logistic'), data_dir, lambda _: None)
  state = experiment.init()
  save_untrained_run(tmp_path / 'run', experiment, state.replace(params=random_params(state.params)))
  rng = np.random.default_rng(0)
  for name in ('one/a.png', 'two/b.png'):
    (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(tmp_path / 'in' / name)
  run, there, back = (
    f'--{k}={v}' for k, v in (('workdir', tmp_path / 'run'), ('input', tmp_path / 'in'), ('output', tmp_path / 'x'))
  )
  done = forked('experiments.compress', run, there, back)
  assert done.returncode == 0, done.stderr
  assert '2 images of 1,568 bytes' in done.stdout
  done = forked('experiments.decompress', run, f'--input={tmp_path / "x"}', f'--output={tmp_path / "out"}')
  assert done.returncode == 0, done.stderr
  for name in ('one/a.png', 'two/b.png'):
    with Image.open(tmp_path / 'in' / name) as image, Image.open(tmp_path / 'out' / name) as again:
      np.testing.assert_array_equal(image, again)


@pytest.fixture(scope='module')
def lossy_codec():
  config = tiny_config('hyperprior', model__latent_width=6)
  spec = Spec((64, 64, 3), 0)
  return lossy.Codec(config, spec, TASKS['hyperprior'].build(config, spec).init(jax.random.key(0)))


def test_images_of_any_size_come_back_as_the_encoder_saw_them(lossy_codec):
  rng = np.random.default_rng(0)
  images = [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((64, 64), (70, 33), (1, 130))]
  found = lossy_codec.compress(images, ['a.png', 'b.png', 'c.png'])
  again, names = lossy_codec.decompress(found.content)
  assert names == ['a.png', 'b.png', 'c.png']
  assert [image.shape for image in again] == [image.shape for image in images]
  payload = 8 * (len(found.content) - found.header_bytes)
  assert found.bound_bits < payload < 1.02 * found.bound_bits + 3 * 32
  assert lossy_codec.compress(images[:1]).content[:8] == found.content[:8]


def test_damaged_lossy_files_are_refused(lossy_codec):
  content = lossy_codec.compress([np.zeros((64, 64, 3), np.uint8)]).content
  for place in range(0, len(content), 7):
    with pytest.raises(InputError, match=r'damaged|not a file of'):
      lossy_codec.decompress(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])


def test_grey_images_are_refused_by_a_model_of_colours(lossy_codec):
  with pytest.raises(InputError, match='1 channels'):
    lossy_codec.compress([np.zeros((64, 64, 1), np.uint8)])
