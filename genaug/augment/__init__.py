"""Augmentation in jax.numpy: pure functions of one image, made for vmap, jit and grad.

An image is float [h, w, c] in [0, 1]; an operation returns the dtype that it was given. `op(image, value)` is
arithmetic, `random_op(key, image, limit)` draws the value first. Nothing stops a gradient.

  geometry   matrices that move images, masks, boxes and keypoints alike, and the one resampler
  color      brightness, contrast, saturation
  occlusion  cutout
  slicing    tiles, strips, diagonal halves, crops
  pipeline   a config becomes one fused augmentation of a batch
"""
