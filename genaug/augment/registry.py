"""Every operation that a config can turn on, in the order in which they are applied (see `pipeline`).

`OPS` is the only list of operations: `parameters`, `defaults` (from which `c.augment` of configs is made) and `table`
(which the documentation shows) are derived from it and from the declarations beside each `sample_NAME`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from genaug.augment import (
  color,
  crops,
  filters,
  geometry,
  lighting,
  matrices,
  mixing,
  noise,
  occlusion,
  policies,
  policy_layers,
  slicing,
  style,
  tone,
  warp,
)
from genaug.augment.image import GREY, RGB, Choice, Parameter, Params, sample_nothing


class Op(NamedTuple):
  """Registry entry of an operation."""

  stage: str  # what its `apply` takes and returns, and when it is applied, see below
  sample_params: Callable[..., Params]  # (key, image shape, **parameters) -> arguments of apply and of matrix
  apply: Callable | None = None
  matrix: Callable | None = None  # (size, **arguments) -> matrix of the move, which happens after `apply`
  projective: bool = False  # whether the last row of that matrix is other than (0, 0, 1)
  channels: tuple[int, ...] = ()  # numbers of channels that it takes; () for any
  options: tuple[str, ...] = ()  # which of fill, border and interpolation `apply` takes
  cuts_masks: bool = False  # whether masks are cut like images
  keeps_annotations: bool = True  # whether boxes and keypoints can follow
  doc: str = ''  # what happens to an image, one sentence


GREY_OR_RGB, RGB_ONLY = (GREY, RGB), (RGB,)
FILL = ('fill',)

# Stage: what `apply` takes and returns.
#   policy        image -> image, colours only; the moves are `matrix`
#   equalisation  image -> curve [256, c]
#   tone          image -> image, pointwise, so that it also maps a ramp of all levels
#   contrast      arguments and the mean colour -> colour matrix
#   color         arguments -> colour matrix
#   move          none, only a `matrix`
#   field         (size, arguments) -> displacements [h, w, 2]
#   mix           (example, other examples, arguments) -> example, or the same with images
#   others        image -> image
OPS = {
  'rand_augment': Op(
    'policy',
    policies.sample_rand_augment,
    policy_layers.recolor,
    policy_layers.layers_matrix,
    channels=GREY_OR_RGB,
    doc='Random operations of 14, all at one magnitude.',
  ),
  'trivial_augment_wide': Op(
    'policy',
    policies.sample_trivial_augment_wide,
    policy_layers.recolor,
    policy_layers.layers_matrix,
    channels=GREY_OR_RGB,
    doc='One of 14 operations at any magnitude.',
  ),
  'auto_augment': Op(
    'policy',
    policies.sample_auto_augment,
    policy_layers.recolor,
    policy_layers.layers_matrix,
    channels=GREY_OR_RGB,
    doc='One of 25 pairs of operations learned on a data set.',
  ),
  'augmix': Op(
    'policy',
    policies.sample_augmix,
    policies.apply_augmix,
    channels=GREY_OR_RGB,
    options=('fill', 'border', 'interpolation'),
    doc='The image averaged with chains of operations.',
  ),
  'three_augment': Op(
    'policy',
    policies.sample_three_augment,
    policies.recolor_three,
    policies.three_matrix,
    channels=GREY_OR_RGB,
    doc='Grayscale, solarize or blur; then colour jitter and a flip.',
  ),
  'autocontrast': Op(
    'equalisation', sample_nothing, tone.autocontrast_curve, doc="Each channel's range stretched to [0, 1]."
  ),
  'equalize': Op('equalisation', sample_nothing, tone.equalize_curve, doc="Each channel's histogram flattened."),
  'gamma': Op('tone', tone.sample_gamma, tone.gamma, doc='Values to a random power.'),
  'tone_curve': Op('tone', tone.sample_tone_curve, tone.tone_curve, doc='Values through a smooth random curve.'),
  'posterize': Op('tone', tone.sample_posterize, tone.posterize, doc='A random number of bits kept.'),
  'solarize': Op('tone', tone.sample_solarize, tone.solarize, doc='Values above a random threshold inverted.'),
  'invert': Op('tone', tone.sample_invert, tone.invert, doc='The image faded into its negative.'),
  'brightness': Op(
    'color',
    color.sample_brightness,
    color.brightness_matrix,
    channels=GREY_OR_RGB,
    doc='Brightness changed by a random factor.',
  ),
  'contrast': Op(
    'contrast',
    color.sample_contrast,
    color.contrast_matrix,
    channels=GREY_OR_RGB,
    doc='Contrast changed by a random factor.',
  ),
  'saturation': Op(
    'color',
    color.sample_saturation,
    color.saturation_matrix,
    channels=GREY_OR_RGB,
    doc='Saturation changed by a random factor.',
  ),
  'hue': Op(
    'color', color.sample_hue, color.hue_matrix, channels=GREY_OR_RGB, doc='Colours rotated about the grey axis.'
  ),
  'color_jitter': Op(
    'contrast',
    color.sample_color_jitter,
    color.color_jitter_matrix,
    channels=GREY_OR_RGB,
    doc='Brightness, contrast, saturation and hue changed.',
  ),
  'pca_lighting': Op(
    'color',
    lighting.sample_pca_lighting,
    lighting.pca_lighting_matrix,
    channels=RGB_ONLY,
    doc="Colours shifted along the principal components of ImageNet's.",
  ),
  'planckian_jitter': Op(
    'color',
    lighting.sample_planckian_jitter,
    lighting.planckian_jitter_matrix,
    channels=RGB_ONLY,
    doc='Lit by a black body of a random temperature.',
  ),
  'grayscale': Op(
    'color', color.sample_grayscale, color.grayscale_matrix, channels=GREY_OR_RGB, doc='Faded into grey.'
  ),
  'channel_shuffle': Op(
    'color',
    color.sample_channel_shuffle,
    color.channel_shuffle_matrix,
    channels=RGB_ONLY,
    doc='Red, green and blue in a random order.',
  ),
  'channel_drop': Op(
    'color',
    color.sample_channel_drop,
    color.channel_drop_matrix,
    channels=RGB_ONLY,
    options=FILL,
    doc='One of red, green and blue replaced by `fill`.',
  ),
  'clahe': Op(
    'local',
    tone.sample_clahe,
    tone.clahe,
    channels=GREY_OR_RGB,
    doc='Local histogram equalisation with a random limit.',
  ),
  'tile_crop': Op(
    'move',
    slicing.sample_tile_crop,
    matrix=crops.resized_crop_matrix,
    doc='A random tile of a grid shown at full size.',
  ),
  'random_resized_crop': Op(
    'move',
    crops.sample_random_resized_crop,
    matrix=crops.resized_crop_matrix,
    doc='A random window shown at full size.',
  ),
  'transpose': Op(
    'move', geometry.sample_transpose, matrix=matrices.transpose_matrix, doc='Mirrored about the main diagonal.'
  ),
  'antitranspose': Op(
    'move', geometry.sample_transpose, matrix=matrices.antitranspose_matrix, doc='Mirrored about the other diagonal.'
  ),
  'hflip': Op('move', sample_nothing, matrix=matrices.hflip_matrix, doc='Mirrored left to right.'),
  'vflip': Op('move', sample_nothing, matrix=matrices.vflip_matrix, doc='Mirrored top to bottom.'),
  'rot90': Op('move', geometry.sample_rot90, matrix=matrices.rot90_matrix, doc='Rotated by 0, 90, 180 or 270 degrees.'),
  'scale': Op(
    'move', geometry.sample_scale, matrix=matrices.scale_matrix, doc='Width and height scaled by random factors.'
  ),
  'zoom': Op('move', geometry.sample_zoom, matrix=matrices.zoom_matrix, doc='Scaled by one random factor.'),
  'shear': Op('move', geometry.sample_shear, matrix=matrices.shear_matrix, doc='Sheared by random angles.'),
  'rotate': Op('move', geometry.sample_rotate, matrix=matrices.rotate_matrix, doc='Rotated by a random angle.'),
  'affine': Op(
    'move', geometry.sample_affine, matrix=matrices.affine_matrix, doc='Zoom, shear, rotation and translation in one.'
  ),
  'perspective': Op(
    'move',
    geometry.sample_perspective,
    matrix=matrices.perspective_matrix,
    projective=True,
    doc='Seen in a random perspective.',
  ),
  'translate': Op(
    'move', geometry.sample_translate, matrix=matrices.translate_matrix, doc='Moved by random fractions of the side.'
  ),
  'lens_distort': Op(
    'field', warp.sample_lens_distort, warp.lens_distort_field, doc='Distorted by a lens, barrel to pincushion.'
  ),
  'thin_plate_spline': Op(
    'field', warp.sample_thin_plate_spline, warp.thin_plate_spline_field, doc='Warped at a few random control points.'
  ),
  'grid_distort': Op(
    'field', warp.sample_grid_distort, warp.grid_distort_field, doc='Cells of a grid stretched and squeezed.'
  ),
  'elastic': Op('field', warp.sample_elastic, warp.elastic_field, doc='Warped by smooth noise.'),
  'grid_shuffle': Op(
    'piece',
    slicing.sample_grid_shuffle,
    slicing.grid_shuffle,
    cuts_masks=True,
    keeps_annotations=False,
    doc='The tiles of a grid in a random order.',
  ),
  'diagonal_half': Op(
    'piece',
    slicing.sample_diagonal_half,
    slicing.diagonal_half,
    options=FILL,
    cuts_masks=True,
    doc='One half beside a diagonal kept.',
  ),
  'gaussian_blur': Op(
    'filter', filters.sample_gaussian_blur, filters.gaussian_blur, doc='Blurred by a Gaussian of random width.'
  ),
  'box_blur': Op('filter', filters.sample_box_blur, filters.box_blur, doc='Blurred by the mean of 3 x 3 pixels.'),
  'motion_blur': Op('filter', filters.sample_motion_blur, filters.motion_blur, doc='Blurred along a random line.'),
  'median_blur': Op(
    'filter', filters.sample_median_blur, filters.median_blur, doc='Blurred by the median of 3 x 3 pixels.'
  ),
  'sharpen': Op('filter', filters.sample_sharpen, filters.sharpen, doc='Sharpened by a random amount.'),
  'unsharp_mask': Op(
    'filter',
    filters.sample_unsharp_mask,
    filters.unsharp_mask,
    doc='Sharpened by an unsharp mask of random amount and width.',
  ),
  'gaussian_noise': Op('noise', noise.sample_gaussian_noise, noise.gaussian_noise, doc='Normal noise added.'),
  'shot_noise': Op('noise', noise.sample_shot_noise, noise.shot_noise, doc='Poisson noise of a photon count.'),
  'salt_and_pepper': Op(
    'noise', noise.sample_salt_and_pepper, noise.salt_and_pepper, doc='Random pixels black or white.'
  ),
  'jpeg': Op('noise', noise.sample_jpeg, noise.jpeg, doc='Compressed by JPEG of random quality.'),
  'cutout': Op('occlusion', occlusion.sample_cutout, occlusion.cutout, options=FILL, doc='A square hidden.'),
  'erase': Op(
    'occlusion',
    occlusion.sample_erase,
    occlusion.erase,
    options=FILL,
    doc='A random rectangle hidden (Random Erasing).',
  ),
  'grid_mask': Op(
    'occlusion', occlusion.sample_grid_mask, occlusion.grid_mask, options=FILL, doc='A grid of squares hidden.'
  ),
  'pixel_dropout': Op(
    'occlusion', occlusion.sample_pixel_dropout, occlusion.pixel_dropout, options=FILL, doc='Random pixels hidden.'
  ),
  'coarse_dropout': Op(
    'occlusion', occlusion.sample_coarse_dropout, occlusion.coarse_dropout, options=FILL, doc='Random boxes hidden.'
  ),
  'histogram_match': Op(
    'mix', style.sample_histogram_match, style.histogram_match, doc="Values get the partner's histogram."
  ),
  'fourier_mix': Op(
    'mix', style.sample_fourier_mix, style.fourier_mix, doc="Low frequencies get the partner's amplitude."
  ),
  'copy_paste': Op('mix', sample_nothing, mixing.copy_paste, doc="What the partner's mask covers pasted."),
  'mosaic': Op('mix', mixing.sample_mosaic, mixing.mosaic, doc='Four images about a point.'),
  'mixup': Op('mix', mixing.sample_mixup, mixing.mixup, doc='The weighted mean with the partner.'),
  'cutmix': Op('mix', mixing.sample_cutmix, mixing.cutmix, doc='A box of the partner pasted.'),
  'resizemix': Op('mix', mixing.sample_resizemix, mixing.resizemix, doc='The partner, made small, pasted.'),
  'fmix': Op('mix', mixing.sample_fmix, mixing.fmix, doc='Random blobs of the partner pasted.'),
}


def parameters(name: str, ops: Mapping[str, Op] = OPS) -> dict[str, Any]:
  """Returns the parameters of an operation, apart from its probability, with their defaults."""
  signature = inspect.signature(ops[name].sample_params)
  return {parameter.name: parameter.default for parameter in list(signature.parameters.values())[2:]}


def defaults(ops: Mapping[str, Op] = OPS) -> dict[str, dict[str, Any]]:
  """Returns {name: {'p': 0.0, parameter: default, ...}} for all operations: everything is off."""
  return {name: {'p': 0.0, **parameters(name, ops)} for name in ops}


def declared(name: str, ops: Mapping[str, Op] = OPS) -> dict[str, Parameter | Choice]:
  """Returns the declared range and meaning of every parameter of an operation; empty if it declares none."""
  return getattr(ops[name].sample_params, 'parameters', {})


def table(ops: Mapping[str, Op] = OPS) -> str:
  """Returns a Markdown table of all operations: name, stage, effect, and default, range and meaning of parameters."""
  rows = ['| operation | stage | an image gets | parameters: default, range, meaning |', '| --- | --- | --- | --- |']
  for name, op in ops.items():
    known = declared(name, ops)
    lines = [
      f'`{key}={_written(default)}` {known[key]}: {known[key].doc}' if key in known else f'`{key}={_written(default)}`'
      for key, default in parameters(name, ops).items()
    ]
    rows.append(f'| `{name}` | {op.stage} | {op.doc} | {"<br>".join(lines)} |')
  return '\n'.join(rows)


def _written(default: Any) -> str:
  return f'{default:.4g}' if isinstance(default, float) else str(default)
