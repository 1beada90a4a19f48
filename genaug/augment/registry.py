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
#   policy        image -> image, colours only (augmix: with its moves); the moves are `matrix`
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
    doc='Applies `num_ops` random operations out of 14, all at one magnitude.',
  ),
  'trivial_augment_wide': Op(
    'policy',
    policies.sample_trivial_augment_wide,
    policy_layers.recolor,
    policy_layers.layers_matrix,
    channels=GREY_OR_RGB,
    doc='Applies one of 14 operations at a random magnitude.',
  ),
  'auto_augment': Op(
    'policy',
    policies.sample_auto_augment,
    policy_layers.recolor,
    policy_layers.layers_matrix,
    channels=GREY_OR_RGB,
    doc='Applies one of 25 pairs of operations learned on a data set.',
  ),
  'augmix': Op(
    'policy',
    policies.sample_augmix,
    policies.apply_augmix,
    channels=GREY_OR_RGB,
    options=('fill', 'border', 'interpolation'),
    doc='Averages the image with chains of operations.',
  ),
  'three_augment': Op(
    'policy',
    policies.sample_three_augment,
    policies.recolor_three,
    policies.three_matrix,
    channels=GREY_OR_RGB,
    doc='Applies grayscale, solarize or blur, then colour jitter and a flip.',
  ),
  'autocontrast': Op(
    'equalisation', sample_nothing, tone.autocontrast_curve, doc='Stretches the range of each channel to [0, 1].'
  ),
  'equalize': Op('equalisation', sample_nothing, tone.equalize_curve, doc='Flattens the histogram of each channel.'),
  'gamma': Op('tone', tone.sample_gamma, tone.gamma, doc='Raises values to a random power.'),
  'tone_curve': Op('tone', tone.sample_tone_curve, tone.tone_curve, doc='Maps values by a smooth random curve.'),
  'posterize': Op('tone', tone.sample_posterize, tone.posterize, doc='Keeps a random number of bits.'),
  'solarize': Op('tone', tone.sample_solarize, tone.solarize, doc='Inverts values above a random threshold.'),
  'invert': Op('tone', tone.sample_invert, tone.invert, doc='Blends the image with its negative.'),
  'brightness': Op(
    'color',
    color.sample_brightness,
    color.brightness_matrix,
    channels=GREY_OR_RGB,
    doc='Changes brightness by a random factor.',
  ),
  'contrast': Op(
    'contrast',
    color.sample_contrast,
    color.contrast_matrix,
    channels=GREY_OR_RGB,
    doc='Changes contrast by a random factor.',
  ),
  'saturation': Op(
    'color',
    color.sample_saturation,
    color.saturation_matrix,
    channels=GREY_OR_RGB,
    doc='Changes saturation by a random factor.',
  ),
  'hue': Op(
    'color',
    color.sample_hue,
    color.hue_matrix,
    channels=GREY_OR_RGB,
    doc='Rotates hue: colours turn about the grey axis.',
  ),
  'color_jitter': Op(
    'contrast',
    color.sample_color_jitter,
    color.color_jitter_matrix,
    channels=GREY_OR_RGB,
    doc='Changes brightness, contrast, saturation and hue.',
  ),
  'pca_lighting': Op(
    'color',
    lighting.sample_pca_lighting,
    lighting.pca_lighting_matrix,
    channels=RGB_ONLY,
    doc="Shifts colours along the principal components of ImageNet's colours.",
  ),
  'planckian_jitter': Op(
    'color',
    lighting.sample_planckian_jitter,
    lighting.planckian_jitter_matrix,
    channels=RGB_ONLY,
    doc='Lights the image by a black body of random temperature.',
  ),
  'grayscale': Op(
    'color',
    color.sample_grayscale,
    color.grayscale_matrix,
    channels=GREY_OR_RGB,
    doc='Blends the image with its grey version.',
  ),
  'channel_shuffle': Op(
    'color',
    color.sample_channel_shuffle,
    color.channel_shuffle_matrix,
    channels=RGB_ONLY,
    doc='Puts red, green and blue in a random order.',
  ),
  'channel_drop': Op(
    'color',
    color.sample_channel_drop,
    color.channel_drop_matrix,
    channels=RGB_ONLY,
    options=FILL,
    doc='Replaces one of red, green and blue by `fill`.',
  ),
  'clahe': Op(
    'local',
    tone.sample_clahe,
    tone.clahe,
    channels=GREY_OR_RGB,
    doc='Equalises histograms locally, with a random contrast limit.',
  ),
  'tile_crop': Op(
    'move',
    slicing.sample_tile_crop,
    matrix=crops.resized_crop_matrix,
    doc='Enlarges a random tile of a grid to full size.',
  ),
  'random_resized_crop': Op(
    'move',
    crops.sample_random_resized_crop,
    matrix=crops.resized_crop_matrix,
    doc='Crops a random window and resizes it to full size.',
  ),
  'transpose': Op(
    'move', geometry.sample_transpose, matrix=matrices.transpose_matrix, doc='Mirrors about the main diagonal.'
  ),
  'antitranspose': Op(
    'move', geometry.sample_transpose, matrix=matrices.antitranspose_matrix, doc='Mirrors about the other diagonal.'
  ),
  'hflip': Op('move', sample_nothing, matrix=matrices.hflip_matrix, doc='Mirrors left to right.'),
  'vflip': Op('move', sample_nothing, matrix=matrices.vflip_matrix, doc='Mirrors top to bottom.'),
  'rot90': Op('move', geometry.sample_rot90, matrix=matrices.rot90_matrix, doc='Rotates by 0, 90, 180 or 270 degrees.'),
  'scale': Op(
    'move', geometry.sample_scale, matrix=matrices.scale_matrix, doc='Scales width and height by two random factors.'
  ),
  'zoom': Op('move', geometry.sample_zoom, matrix=matrices.zoom_matrix, doc='Scales by one random factor.'),
  'shear': Op('move', geometry.sample_shear, matrix=matrices.shear_matrix, doc='Shears by random angles.'),
  'rotate': Op('move', geometry.sample_rotate, matrix=matrices.rotate_matrix, doc='Rotates by a random angle.'),
  'affine': Op(
    'move', geometry.sample_affine, matrix=matrices.affine_matrix, doc='Zooms, shears, rotates and translates.'
  ),
  'perspective': Op(
    'move',
    geometry.sample_perspective,
    matrix=matrices.perspective_matrix,
    projective=True,
    doc='Moves the corners: a random change of perspective.',
  ),
  'translate': Op(
    'move',
    geometry.sample_translate,
    matrix=matrices.translate_matrix,
    doc='Translates by random fractions of the sides.',
  ),
  'lens_distort': Op(
    'field',
    warp.sample_lens_distort,
    warp.lens_distort_field,
    doc='Distorts as a lens does, from barrel to pincushion.',
  ),
  'thin_plate_spline': Op(
    'field',
    warp.sample_thin_plate_spline,
    warp.thin_plate_spline_field,
    doc='Warps by a thin plate spline with a few random control points.',
  ),
  'grid_distort': Op(
    'field', warp.sample_grid_distort, warp.grid_distort_field, doc='Stretches and squeezes the cells of a grid.'
  ),
  'elastic': Op('field', warp.sample_elastic, warp.elastic_field, doc='Warps by smooth noise.'),
  'grid_shuffle': Op(
    'piece',
    slicing.sample_grid_shuffle,
    slicing.grid_shuffle,
    cuts_masks=True,
    keeps_annotations=False,
    doc='Puts the tiles of a grid in a random order.',
  ),
  'diagonal_half': Op(
    'piece',
    slicing.sample_diagonal_half,
    slicing.diagonal_half,
    options=FILL,
    cuts_masks=True,
    doc='Keeps the half on one side of a diagonal.',
  ),
  'gaussian_blur': Op(
    'filter', filters.sample_gaussian_blur, filters.gaussian_blur, doc='Blurs by a Gaussian of random width.'
  ),
  'box_blur': Op('filter', filters.sample_box_blur, filters.box_blur, doc='Blurs by the mean of 3 x 3 pixels.'),
  'motion_blur': Op('filter', filters.sample_motion_blur, filters.motion_blur, doc='Blurs along a random line.'),
  'median_blur': Op(
    'filter', filters.sample_median_blur, filters.median_blur, doc='Filters by the median of 3 x 3 pixels.'
  ),
  'sharpen': Op('filter', filters.sample_sharpen, filters.sharpen, doc='Sharpens by a random amount.'),
  'unsharp_mask': Op(
    'filter',
    filters.sample_unsharp_mask,
    filters.unsharp_mask,
    doc='Sharpens by an unsharp mask of random amount and width.',
  ),
  'gaussian_noise': Op('noise', noise.sample_gaussian_noise, noise.gaussian_noise, doc='Adds Gaussian noise.'),
  'shot_noise': Op('noise', noise.sample_shot_noise, noise.shot_noise, doc='Adds Poisson (shot) noise.'),
  'salt_and_pepper': Op(
    'noise', noise.sample_salt_and_pepper, noise.salt_and_pepper, doc='Makes random pixels black or white.'
  ),
  'jpeg': Op('noise', noise.sample_jpeg, noise.jpeg, doc='Compresses by JPEG of random quality.'),
  'cutout': Op('occlusion', occlusion.sample_cutout, occlusion.cutout, options=FILL, doc='Hides a square.'),
  'erase': Op(
    'occlusion',
    occlusion.sample_erase,
    occlusion.erase,
    options=FILL,
    doc='Hides a random rectangle (Random Erasing).',
  ),
  'grid_mask': Op(
    'occlusion', occlusion.sample_grid_mask, occlusion.grid_mask, options=FILL, doc='Hides a grid of squares.'
  ),
  'pixel_dropout': Op(
    'occlusion', occlusion.sample_pixel_dropout, occlusion.pixel_dropout, options=FILL, doc='Hides random pixels.'
  ),
  'coarse_dropout': Op(
    'occlusion', occlusion.sample_coarse_dropout, occlusion.coarse_dropout, options=FILL, doc='Hides random boxes.'
  ),
  'histogram_match': Op(
    'mix', style.sample_histogram_match, style.histogram_match, doc='Matches the histogram of the partner.'
  ),
  'fourier_mix': Op(
    'mix', style.sample_fourier_mix, style.fourier_mix, doc='Takes the amplitude of low frequencies from the partner.'
  ),
  'copy_paste': Op('mix', sample_nothing, mixing.copy_paste, doc="Pastes what the partner's mask covers."),
  'mosaic': Op('mix', mixing.sample_mosaic, mixing.mosaic, doc='Joins four images at a random point.'),
  'mixup': Op('mix', mixing.sample_mixup, mixing.mixup, doc='Averages with the partner, by random weights.'),
  'cutmix': Op('mix', mixing.sample_cutmix, mixing.cutmix, doc='Pastes a box of the partner.'),
  'resizemix': Op('mix', mixing.sample_resizemix, mixing.resizemix, doc='Pastes the partner, downscaled.'),
  'fmix': Op('mix', mixing.sample_fmix, mixing.fmix, doc='Pastes random blobs of the partner.'),
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
  rows = ['| operation | stage | what it does | parameters: default, range, meaning |', '| --- | --- | --- | --- |']
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
