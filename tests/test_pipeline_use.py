"""A pipeline as a library: called on examples and batches, under transformations, and with operations of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.augment import OPS, Op, Pipeline, mixing
from tests.test_every_op import keys
from tests.test_pipeline import SHAPE, images


def everything(n):
  rng = np.random.default_rng(0)
  corner = rng.uniform(0, 6, (n, 3, 2))
  return {
    'image': images(n),
    'image2': rng.random((n, 12, 12, 1), np.float32),
    'mask': rng.integers(0, 4, (n, 12, 12)),
    'boxes': np.concatenate([corner, corner + 4], -1).astype(np.float32),
    'boxes_classes': rng.integers(0, 5, (n, 3)),
    'label': np.eye(4, dtype=np.float32)[np.arange(n) % 4],
  }


def test_masks_boxes_classes_and_two_images_through_mixup_under_jit():
  augmented = Pipeline({'rotate': {'p': 1, 'degrees': 30}, 'hflip': {'p': 0.5}, 'mixup': {'p': 0.5}}, border='edge')
  given = everything(8)
  batch = jax.jit(augmented)(keys(8), given)
  assert {name: value.shape for name, value in batch.items()} == {
    'image': (8, *SHAPE), 'image2': (8, 12, 12, 1), 'mask': (8, 12, 12), 'boxes': (8, 6, 4), 'boxes_classes': (8, 6),
    'boxes_visible': (8, 6), 'label': (8, 4),
  }  # fmt: skip
  params = augmented.sample(keys(8), given)
  partner = mixing.partners(8)
  for i, mixed in enumerate(np.asarray(params['mixup'].on)):
    np.testing.assert_array_equal(batch['boxes_visible'][i, 3:].any(), mixed)
    np.testing.assert_array_equal(batch['boxes_classes'][i, :3], given['boxes_classes'][i])
    np.testing.assert_array_equal(batch['boxes_classes'][i, 3:], given['boxes_classes'][partner[i]])
    assert (batch['label'][i].max() < 1) == (mixed and params['mixup'].values['weight'][i] < 1)
  again = augmented.apply(params, given)
  for name in batch:
    np.testing.assert_allclose(again[name], batch[name], atol=1e-5)


def test_one_example_a_batch_vmap_and_jit_agree():
  names = ('affine', 'hue', 'gaussian_noise')
  augmented = Pipeline({name: {'p': 0.5} for name in names})
  batch = everything(6)
  whole = augmented(keys(6), batch)
  for other in (jax.jit(augmented)(keys(6), batch), jax.vmap(augmented)(keys(6), batch)):
    assert other.keys() == whole.keys()
    for name in whole:
      np.testing.assert_allclose(other[name], whole[name], atol=1e-4)
  one = augmented(keys(6)[4], {name: value[4] for name, value in batch.items()})
  for name in whole:
    np.testing.assert_allclose(one[name], whole[name][4], atol=1e-4)
    assert one[name].dtype == whole[name].dtype


def test_called_as_it_is_a_pipeline_compiles_once(caplog):
  settings, batch = {'rotate': {}, 'equalize': {'p': 0.5}, 'cutmix': {}}, everything(4)
  all_keys = [keys(4, seed) for seed in range(4)]

  def use(augmented, keys):
    params = augmented.sample(keys, batch)
    return augmented(keys, batch), augmented.apply(params, batch)

  use(Pipeline(settings), all_keys[0])
  with jax.log_compiles():
    for some in all_keys[1:]:
      use(Pipeline(settings), some)
    assert not [record.message for record in caplog.records if 'ompil' in record.message]
    Pipeline(settings, border='edge')(all_keys[0], batch)
    assert [record for record in caplog.records if 'Finished XLA compilation' in record.message]


def test_an_operation_of_ones_own():
  def sample_stripes(key, shape, width=2):
    return {'first': jax.random.randint(key, (), 0, width)}

  def stripes(image, first, fill=0.0):
    return jnp.where(jnp.arange(image.shape[1])[None, :, None] % 2 == first, fill, image)

  def sample_shift(key, shape, pixels=3.0):
    return {'pixels': jnp.asarray(pixels)}

  def shift(size, pixels):
    return jnp.array([[1, 0, pixels], [0, 1, 0], [0, 0, 1]])

  def swap(example, other, *, targets):
    return example | {'image': other['image']}

  mine = {
    'stripes': Op('occlusion', sample_stripes, stripes, options=('fill',)),
    'shift': Op('move', sample_shift, matrix=shift),
    'swap': Op('mix', lambda key, shape: {}, swap),
  }
  batch = everything(4) | {'image': np.ones((4, *SHAPE), np.float32)}
  augmented = Pipeline({'stripes': {'width': 2}, 'shift': {'pixels': 2}}, fill=0.25, ops=OPS | mine)
  assert augmented.operations == ('stripes', 'shift')
  out = augmented(keys(4), batch)
  assert set(np.unique(out['image'])) == {0.25, 1.0}
  np.testing.assert_allclose(out['boxes'], batch['boxes'] + [2, 0, 2, 0], atol=1e-5)
  np.testing.assert_array_equal(out['mask'][:, :, 2:], batch['mask'][:, :, :-2])
  assert 'stripes' not in OPS
  swapped = Pipeline({'swap': {}}, ops=OPS | mine)(keys(4), {'image': images(4), 'label': np.eye(4)})
  np.testing.assert_array_equal(np.round(swapped['image'] * 255), images(4)[mixing.partners(4)])
  with pytest.raises(ValueError, match="stripes: unknown parameter 'widht': did you mean 'width'"):
    Pipeline({'stripes': {'widht': 2}}, ops=mine)
