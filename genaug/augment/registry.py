"""Every operation that a config can turn on, in the order in which they are carried out (see `pipeline`)."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from genaug.augment import (
  color,
  crops,
  filters,
  geometry,
  matrices,
  mixing,
  noise,
  occlusion,
  policies,
  slicing,
  style,
  tone,
  warp,
)
from genaug.augment.image import GREY, RGB, sample_nothing


class Op(NamedTuple):
  """An operation as the pipeline needs it."""

  stage: str  # what its `apply` is and when it happens, see below
  sample_params: Callable[..., dict[str, Any]]  # (key, image shape, **strengths) -> arguments of apply and of matrix
  apply: Callable | None = None
  matrix: Callable | None = None  # (shape, **arguments) -> the move that follows what `apply` does
  channels: tuple[int, ...] = ()  # the only numbers of channels it takes, if it is not for any
  options: tuple[str, ...] = ()  # of fill, border and method: what `apply` takes
  cuts: bool = False  # masks are cut like images
  tears: bool = False  # boxes and keypoints can't follow


GREY_OR_RGB, RGB_ONLY = (GREY, RGB), (RGB,)
FILL = ('fill',)

# Stage: what `apply` is.
#   policy        image -> image, colours only; the moves are `matrix`
#   equalisation  image -> curve [256, c]
#   tone          pointwise on an image, so also on a ramp of all levels
#   contrast      arguments and the mean colour -> colour matrix
#   color         arguments -> colour matrix
#   move          none, only a `matrix`
#   field         (shape, arguments) -> displacements [h, w, 2]
#   mix           (example, other example, arguments) -> example
#   others        image -> image
OPS = {
  'rand_augment': Op(
    'policy', policies.sample_rand_augment, policies.recolor, policies.layers_matrix, channels=GREY_OR_RGB
  ),
  'trivial_augment_wide': Op(
    'policy', policies.sample_trivial_augment_wide, policies.recolor, policies.layers_matrix, channels=GREY_OR_RGB
  ),
  'auto_augment': Op(
    'policy', policies.sample_auto_augment, policies.recolor, policies.layers_matrix, channels=GREY_OR_RGB
  ),
  'augmix': Op(
    'policy',
    policies.sample_augmix,
    policies.apply_augmix,
    channels=GREY_OR_RGB,
    options=('fill', 'border', 'method'),
  ),
  'three_augment': Op(
    'policy', policies.sample_three_augment, policies.recolor_three, policies.three_matrix, channels=GREY_OR_RGB
  ),
  'autocontrast': Op('equalisation', sample_nothing, tone.autocontrast_curve),
  'equalize': Op('equalisation', sample_nothing, tone.equalize_curve),
  'gamma': Op('tone', tone.sample_gamma, tone.gamma),
  'tone_curve': Op('tone', tone.sample_tone_curve, tone.tone_curve),
  'posterize': Op('tone', tone.sample_posterize, tone.posterize),
  'solarize': Op('tone', tone.sample_solarize, tone.solarize),
  'invert': Op('tone', tone.sample_invert, tone.invert),
  'brightness': Op('color', color.sample_brightness, color.brightness_matrix, channels=GREY_OR_RGB),
  'contrast': Op('contrast', color.sample_contrast, color.contrast_matrix, channels=GREY_OR_RGB),
  'saturation': Op('color', color.sample_saturation, color.saturation_matrix, channels=GREY_OR_RGB),
  'hue': Op('color', color.sample_hue, color.hue_matrix, channels=GREY_OR_RGB),
  'color_jitter': Op('contrast', color.sample_color_jitter, color.color_jitter_matrix, channels=GREY_OR_RGB),
  'pca_lighting': Op('color', color.sample_pca_lighting, color.pca_lighting_matrix, channels=RGB_ONLY),
  'planckian_jitter': Op('color', color.sample_planckian_jitter, color.planckian_jitter_matrix, channels=RGB_ONLY),
  'grayscale': Op('color', color.sample_grayscale, color.grayscale_matrix, channels=GREY_OR_RGB),
  'channel_shuffle': Op('color', color.sample_channel_shuffle, color.channel_shuffle_matrix, channels=RGB_ONLY),
  'channel_drop': Op('color', color.sample_channel_drop, color.channel_drop_matrix, channels=RGB_ONLY),
  'clahe': Op('local', tone.sample_clahe, tone.clahe, channels=GREY_OR_RGB),
  'tiles': Op('move', slicing.sample_tiles, matrix=crops.resized_crop_matrix),
  'random_resized_crop': Op('move', crops.sample_random_resized_crop, matrix=crops.resized_crop_matrix),
  'transpose': Op('move', geometry.sample_transpose, matrix=matrices.transpose_matrix),
  'antitranspose': Op('move', geometry.sample_transpose, matrix=matrices.antitranspose_matrix),
  'hflip': Op('move', sample_nothing, matrix=matrices.hflip_matrix),
  'vflip': Op('move', sample_nothing, matrix=matrices.vflip_matrix),
  'rot90': Op('move', geometry.sample_rot90, matrix=matrices.rot90_matrix),
  'scale': Op('move', geometry.sample_scale, matrix=matrices.scale_matrix),
  'zoom': Op('move', geometry.sample_zoom, matrix=matrices.zoom_matrix),
  'shear': Op('move', geometry.sample_shear, matrix=matrices.shear_matrix),
  'rotate': Op('move', geometry.sample_rotate, matrix=matrices.rotate_matrix),
  'affine': Op('move', geometry.sample_affine, matrix=matrices.affine_matrix),
  'perspective': Op('move', geometry.sample_perspective, matrix=matrices.perspective_matrix),
  'translate': Op('move', geometry.sample_translate, matrix=matrices.translate_matrix),
  'lens_distort': Op('field', warp.sample_lens_distort, warp.lens_distort_field),
  'thin_plate_spline': Op('field', warp.sample_thin_plate_spline, warp.thin_plate_spline_field),
  'grid_distort': Op('field', warp.sample_grid_distort, warp.grid_distort_field),
  'elastic': Op('field', warp.sample_elastic, warp.elastic_field),
  'grid_shuffle': Op('piece', slicing.sample_grid_shuffle, slicing.grid_shuffle, cuts=True, tears=True),
  'halves': Op('piece', slicing.sample_halves, slicing.keep_half, options=FILL, cuts=True),
  'gaussian_blur': Op('filter', filters.sample_gaussian_blur, filters.gaussian_blur),
  'box_blur': Op('filter', filters.sample_box_blur, filters.box_blur),
  'motion_blur': Op('filter', filters.sample_motion_blur, filters.motion_blur),
  'median_blur': Op('filter', filters.sample_median_blur, filters.median_blur),
  'sharpen': Op('filter', filters.sample_sharpen, filters.sharpen),
  'unsharp_mask': Op('filter', filters.sample_unsharp_mask, filters.unsharp_mask),
  'gaussian_noise': Op('noise', noise.sample_gaussian_noise, noise.gaussian_noise),
  'shot_noise': Op('noise', noise.sample_shot_noise, noise.shot_noise),
  'salt_and_pepper': Op('noise', noise.sample_salt_and_pepper, noise.salt_and_pepper),
  'jpeg': Op('noise', noise.sample_jpeg, noise.jpeg),
  'cutout': Op('occlusion', occlusion.sample_cutout, occlusion.cutout, options=FILL),
  'random_erasing': Op('occlusion', occlusion.sample_erase, occlusion.erase, options=FILL),
  'grid_mask': Op('occlusion', occlusion.sample_grid_mask, occlusion.grid_mask, options=FILL),
  'pixel_dropout': Op('occlusion', occlusion.sample_pixel_dropout, occlusion.pixel_dropout, options=FILL),
  'coarse_dropout': Op('occlusion', occlusion.sample_coarse_dropout, occlusion.coarse_dropout, options=FILL),
  'histogram_match': Op('mix', style.sample_histogram_match, style.histogram_match),
  'fourier_mix': Op('mix', style.sample_fourier_mix, style.fourier_mix),
  'copy_paste': Op('mix', sample_nothing, mixing.copy_paste),
  'mosaic': Op('mix', mixing.sample_mosaic, mixing.mosaic),
  'mixup': Op('mix', mixing.sample_mixup, mixing.mixup),
  'cutmix': Op('mix', mixing.sample_cutmix, mixing.cutmix),
  'resizemix': Op('mix', mixing.sample_resizemix, mixing.resizemix),
  'fmix': Op('mix', mixing.sample_fmix, mixing.fmix),
}


def strengths(name: str) -> dict[str, Any]:
  """What a config sets of an operation beside its probability, with the defaults."""
  parameters = list(inspect.signature(OPS[name].sample_params).parameters.values())
  return {parameter.name: parameter.default for parameter in parameters[2:]}


MIXES = tuple(name for name, op in OPS.items() if op.stage == 'mix')
