"""The check at the head of a pipeline: what does not suit is named, with what is wanted and what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug import augment
from genaug.augment import OPS, TARGETS, Pipeline, Target

KEY, KEYS = jax.random.key(0), jax.random.split(jax.random.key(0), 4)
IMAGE = np.zeros((28, 20, 3), np.uint8)
IMAGES = np.zeros((4, 28, 20, 3), np.uint8)
ROTATE, MIXUP = Pipeline({'rotate': {}}), Pipeline({'mixup': {}})
BOXES = np.array([[1.0, 2, 5, 6], [3, 3, 9, 9]])


def example(**entries):
  return {'image': IMAGE} | entries


REFUSED = {  # the entries of one example, and what the message says
  'mask of another size': ({'mask': np.zeros((20, 28), int)}, 'mask of 20 x 28 pixels: must be 28 x 20, as image is'),
  'second image': ({'image2': np.zeros((14, 10, 3))}, 'image2 of 14 x 10 pixels: must be 28 x 20, as image is'),
  'one-hot mask': ({'mask': np.zeros((28, 20, 5), int)}, r'mask of shape \(28, 20, 5\): must be .*h, w, 1.*argmax'),
  'float mask': ({'mask': np.zeros((28, 20))}, "mask of float32: must be integers or booleans; .*'map'"),
  'integer depth': ({'depth': np.zeros((28, 20), int)}, r'depth of int32: must be floating point; .*astype.*mask'),
  'fifth column': ({'boxes': np.zeros((2, 5))}, r"boxes of shape \(2, 5\): must be \[n, 4\], \(x_min.*'boxes_classes'"),
  'one box': ({'boxes': np.zeros(4)}, r'boxes of shape \(4,\): must be \[n, 4\]'),
  'third column': (
    {'keypoints': np.zeros((17, 3))},
    r"keypoints of shape \(17, 3\): must be \[n, 2\], \(x, y\) in pixels.*'keypoints_visible'",
  ),
  'classes': ({'boxes': BOXES, 'boxes_classes': np.zeros(3)}, r'boxes_classes of shape \(3,\): must be 2 long.*boxes'),
  'classes alone': ({'boxes_classes': np.zeros(3)}, 'boxes_classes without boxes'),
  'visibility': ({'boxes': BOXES, 'boxes_visible': np.array([2, 1])}, 'boxes_visible of int32: must be booleans.*> 0'),
  'ragged': ({'boxes': [[1, 2, 3, 4], [1, 2]]}, 'boxes of list: must be an array of numbers'),
  'text': ({'label': 'cat'}, 'label of str: must be an array of numbers'),
  'label': ({'label': np.zeros((3, 4))}, r'label of shape \(3, 4\): must be \[k\]'),
  'int16': ({'image': IMAGE.astype(np.int16)}, r'image of int16: must be uint8 in \[0, 255\] or floating point'),
  'uint16': ({'image': IMAGE.astype(np.uint16)}, 'image of uint16: must be .*astype.*/ 65535'),
  'bool': ({'image': IMAGE > 0}, r'image of bool: must be .*astype\(np.float32\)'),
  'channels first': ({'image': np.zeros((3, 28, 32))}, r'image of shape \(3, 28, 32\): .*np.moveaxis\(image, -3, -1\)'),
  'grey': ({'image': IMAGE[..., 0]}, r'image of shape \(28, 20\): must be \[h, w, c\].*image\[..., None\]'),
  'no pixel': ({'image': np.zeros((0, 20, 3))}, r'image of shape \(0, 20, 3\): must hold at least one pixel'),
  'nothing': ({'image': np.zeros((4, 28, 20, 3))}, r'must be \[h, w, c\], for one key; jax.random.split\(key, 4\)'),
}


@pytest.mark.parametrize(('entries', 'message'), REFUSED.values(), ids=REFUSED.keys())
def test_an_example_that_does_not_suit_is_named(entries, message):
  for call in (ROTATE, ROTATE.sample, jax.jit(ROTATE)) if 'label' not in entries else (ROTATE,):
    if call is not ROTATE and 'boxes' in entries and isinstance(entries['boxes'], list):
      continue
    with pytest.raises(ValueError, match=message):
      call(KEY, example(**entries))
  params = ROTATE.sample(KEY, example())
  for call in (ROTATE.apply, ROTATE.inverse):
    with pytest.raises(
      ValueError, match=message.replace(r'one key; jax.random.split\(key, 4\)', 'params of one example')
    ):
      call(params, example(**entries))


BATCHES = {
  'too few keys': (ROTATE, KEYS[:3], {'image': IMAGES}, r'must be \[3, h, w, c\], for 3 keys; .*split\(key, 4\)'),
  'keys of one': (ROTATE, KEYS, {'image': IMAGE}, r'image of shape \(28, 20, 3\): must be \[4, h, w, c\]'),
  'no keys': (ROTATE, jnp.arange(4), {'image': IMAGES}, 'keys of int32.*jax.random.split'),
  'labels': (ROTATE, KEYS, {'image': IMAGES, 'label': np.zeros(3, int)}, r'label of shape \(3,\): must be \[4, k\]'),
  'no image': (ROTATE, KEYS, {'pixels': IMAGES}, "an example of 'pixels': must hold an image"),
  'mask only': (ROTATE, KEYS, {'mask': IMAGES[..., :1]}, "'mask': must hold an image to sample for"),
  'integers': (MIXUP, KEYS, {'image': IMAGES, 'label': np.arange(4)}, 'label of int32: .*jax.nn.one_hot'),
  'no label': (MIXUP, KEYS, {'image': IMAGES}, 'mixup: images alone: must come with .*label.*jax.nn.one_hot.*boxes'),
  'mixing one': (MIXUP, KEY, {'image': IMAGE, 'label': np.eye(4)[0]}, r'mixup mixes a batch: must have keys \[b\]'),
  'no masks': (Pipeline({'copy_paste': {}}), KEYS, {'image': IMAGES, 'label': np.eye(4)}, "without 'mask'"),
  'channels': (Pipeline({'hue': {}}), KEYS, {'image': IMAGES, 'image2': IMAGES[..., :2]}, 'hue: 2 channels'),
}  # fmt: skip


@pytest.mark.parametrize(('pipeline', 'keys', 'batch', 'message'), BATCHES.values(), ids=BATCHES.keys())
def test_a_batch_that_does_not_suit_is_named(pipeline, keys, batch, message):
  with pytest.raises(ValueError, match=message):
    pipeline(keys, batch)


SETTINGS = {
  'fill of bytes': (lambda: Pipeline({}, fill=128), r'fill = 128: must lie in \[0, 1\], whatever the dtype'),
  'fill of a move': (lambda: augment.rotate(IMAGE, 30.0, fill=128), r'rotate: fill = 128: must lie in \[0, 1\]'),
  'fill of a crop': (lambda: augment.resized_crop(IMAGE, 0, 0, 1, 1, fill=128), r'fill = 128: must lie in \[0, 1\]'),
  'border': (lambda: Pipeline({}, border='mirror'), "border = 'mirror': must be one of constant, edge, reflect, wrap"),
  'operation': (lambda: Pipeline({'rotation': {}}), "unknown operation 'rotation': did you mean 'rotate'"),
  'parameter': (lambda: Pipeline({'rotate': {'angle': 3}}), 'rotate: unknown .*: must be one of p, degrees'),
  'range': (lambda: Pipeline({'rotate': {'degrees': 999}}), r'rotate = .*degrees = 999: must lie in \[0, 180\]'),
  'number': (lambda: Pipeline({'rotate': 0.5}), 'rotate = 0.5: must be a dict of p and parameters'),
  'key': (lambda: Pipeline.from_config({'rotat': {'p': 1}}), "unknown operation 'rotat': did you mean 'rotate'"),
  'stage': (lambda: Pipeline({}, ops={'x': OPS['hflip']._replace(stage='moves')}), "ops: x.stage = 'moves': must be"),
  'kind': (lambda: Pipeline({}, targets=TARGETS | {'x': Target('picture')}), 'x.kind = .*: must be one of image'),
  'owner': (lambda: Pipeline({}, targets=TARGETS | {'x': Target('attribute', of='box')}), "x.of = 'box': must name"),
  'target fill': (lambda: Pipeline({}, targets=TARGETS | {'image': Target('image', fill=255)}), 'image.fill = 255'),
  'params': (lambda: ROTATE.apply({'rotat': None}, {'image': IMAGE}), "'rotat': did you mean 'rotate'"),
}  # fmt: skip


@pytest.mark.parametrize(('call', 'message'), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_pipeline_that_can_not_be_is_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()


def test_a_traced_parameter_is_refused():
  with pytest.raises(ValueError, match=r'rotate\.degrees is traced: must be a constant'):
    jax.jit(lambda degrees: Pipeline({'rotate': {'degrees': degrees}})(KEY, example()))(3.0)


def test_lists_numpy_arrays_and_old_keys_are_taken():
  # NumPy arrays that jit closes over meet traced ones.
  boxes = jax.jit(lambda key: ROTATE(key, example(boxes=BOXES))['boxes'])(KEY)
  lists = ROTATE(jax.random.PRNGKey(0), {'image': IMAGE.tolist(), 'boxes': BOXES.tolist()} | {'image': IMAGE})
  np.testing.assert_allclose(lists['boxes'], boxes, atol=1e-4)
  old = jax.random.split(jax.random.PRNGKey(0), 4)
  np.testing.assert_array_equal(
    ROTATE.sample(old, {'image': IMAGES})['rotate'].values['angle'],
    ROTATE.sample(KEYS, {'image': IMAGES})['rotate'].values['angle'],
  )


def test_mixing_needs_no_label_where_boxes_say_what_there_is():
  out = MIXUP(KEYS, {'image': IMAGES, 'boxes': np.tile(BOXES, (4, 1, 1))})
  assert out['boxes'].shape == (4, 4, 4)
