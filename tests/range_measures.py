"""Measures of images and sampled parameters, and their expected values by published formulas and other libraries."""

import io
from collections.abc import Callable

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from scipy import interpolate, ndimage, stats

from genaug.augment.policy_layers import INDEX, OPERATIONS, Layers
from genaug.augment.policy_tables import AUTO_AUGMENT
from tests.range_ends import GREY, HALF, SIDE, SMOOTH, SOFT, N, partner

# Policies


def recolored(seen):
  """The share of images whose colours change; geometric operations are not applied."""
  op, parameter = (np.pad(layers, ((0, 0), (0, 16 - layers.shape[1]))) for layers in seen.params['layers'])
  images = jax.jit(jax.vmap(seen.op.apply, (None, 0)))(seen.image, Layers(op, parameter))  # 0 is the identity
  return np.mean([not np.array_equal(image, seen.image) for image in images])


def brightened(seen):
  """The distance from the original grey of images whose first layer changes the brightness."""
  chosen = np.asarray(seen.params['layers'].op)[:, 0] == INDEX['brightness']
  return np.abs(seen.images[chosen].mean((1, 2, 3)) - HALF)


def frequencies(seen):
  return np.bincount(np.asarray(seen.many['layers'].op).ravel(), minlength=len(OPERATIONS)) / 2000


def published(table):
  steps = [step for row in AUTO_AUGMENT[table] for step in row]
  shares = {name: sum(p for op, p, _ in steps if op == name) / len(steps) for name in OPERATIONS}
  return [shares[name] or (name == 'identity') * (1 - sum(shares.values())) for name in OPERATIONS]


def translated(seen):
  """The mean value of each image that its only layer translates."""
  moved = np.isin(np.asarray(seen.params['layers'].op).ravel(), [INDEX['translate_x'], INDEX['translate_y']])
  return seen.augmented(seen.params | {'blend': jnp.ones(N)})[moved].mean((1, 2, 3))


def rotations(params):
  layers = params['layers']
  return np.abs(np.asarray(layers.parameter))[np.asarray(layers.op) == INDEX['rotate']]


def weights(seen):
  weight = np.asarray(seen.params['weights'])
  return weight.shape[1], (weight**2).sum(1).mean()


def lengths(seen):
  return (np.asarray(seen.params['layers'].op) != INDEX['identity']).sum(-1).mean()


# Colours


def hue(degrees):
  """The image with its hue rotated; from red to yellow is clockwise in the plane of I and Q."""
  yiq = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
  y, i, q = np.moveaxis(SOFT @ yiq.T, -1, 0)
  turned = (i + 1j * q) * np.exp(-1j * np.deg2rad(degrees))
  return np.stack([y, turned.real, turned.imag], -1) @ np.linalg.inv(yiq).T


def contrast(factor):
  return GREY.mean() + factor * (SOFT - GREY.mean())


def saturation(factor):
  return GREY + factor * (SOFT - GREY)


def lighting(seen):
  """The standard deviation of the alphas, and the error of the resulting colours (Krizhevsky et al. 2012)."""
  vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
  alphas = np.asarray(seen.params['alphas'])
  expected = np.clip(HALF + (alphas * [0.2175, 0.0188, 0.0045]) @ vectors.T, 0, 1)
  return np.asarray(seen.many['alphas']).std(), np.abs(seen.images[:, 0, 0] - expected).max()


SRGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def temperature(seen):
  """The colour temperature of a 6500 K white under the sampled light, from its chromaticity (McCamy 1992)."""
  white = np.linalg.solve(SRGB, [0.31352 / 0.32363, 1, (1 - 0.31352 - 0.32363) / 0.32363])
  lit = SRGB @ (white * (seen.images[0, 0, 0] / seen.image[0, 0]) ** 2.2)
  n = (lit[0] / lit.sum() - 0.3320) / (0.1858 - lit[1] / lit.sum())
  return ((449 * n + 3525) * n + 6823.3) * n + 5520.33


def by_opencv(clip_limit):
  levels = cv2.createCLAHE(clip_limit, (8, 8)).apply(SMOOTH[..., 0] // 64 * 64)
  return np.repeat(levels[..., None] / 255, 3, -1)


# Moves


def dot(column: int) -> np.ndarray:
  image = np.zeros((SIDE, SIDE, 3), np.float32)
  image[14:18, column - 2 : column + 2] = 1
  return image


def angles(seen):
  """The direction of the dot from the centre: cosine and sine of its angle, counter-clockwise."""
  y, x = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2
  light = seen.images[..., 0]
  x, y = (x * light).sum((1, 2)), (y * light).sum((1, 2))
  return np.stack([x, -y], -1) / np.hypot(x, y)[:, None]


def entry(row: int, column: int) -> Callable:
  return lambda seen: seen.matrices[:, row, column]


def diagonal(seen):
  return seen.matrices[:, [0, 1], [0, 1]]


def moved_middle(seen):
  """The displacement of the centre, as a fraction of the side."""
  return (seen.matrices @ [SIDE / 2, SIDE / 2, 1])[:, :2] / SIDE - 0.5


def sheared(degrees):
  """The matrix of shears that lean vertical lines to the right and lift horizontal ones; y points down."""
  t = np.tan(np.deg2rad(degrees))
  return [[1, -t], [-t, 1 + t * t]]


def corners(seen):
  moved = seen.matrices[0] @ np.array([[0, SIDE, SIDE, 0], [0, 0, SIDE, SIDE], [1, 1, 1, 1]])
  return (moved[:2] / moved[2]).T


def drawn_in(distortion):
  inset = SIDE * distortion / 2
  low, high = inset, SIDE - inset
  return [[low, low], [high, low], [high, high], [low, high]]


def area(seen):
  return 1 / seen.matrices[:, [0, 1], [0, 1]].prod(1)


def aspect(seen):
  return seen.matrices[:, 1, 1] / seen.matrices[:, 0, 0]


def windows(low: str, high: str, other: dict) -> Callable:
  """Settings with both bounds at the value."""
  return lambda value: {low: value, high: value, **other}


SQUARES = {'ratio_low': 1.0, 'ratio_high': 1.0}


# Fields

MIDDLES = np.arange(SIDE) + 0.5


def extremes(seen):
  return seen.fields.min(), seen.fields.max()


def radial(k1):
  x, y = np.meshgrid(MIDDLES - SIDE / 2, MIDDLES - SIDE / 2)
  return np.stack([x, y], -1) * (k1 * (x**2 + y**2) / (SIDE**2 / 2))[..., None]


def splines(seen):
  """The number of points per side, and the error of the field against SciPy's splines through them."""
  offsets = np.asarray(seen.params['offsets'])[0]
  size = len(offsets)
  grid = lambda ticks: np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
  spline = interpolate.RBFInterpolator(
    grid(np.linspace(0, SIDE, size)), offsets.reshape(-1, 2) * SIDE, kernel='thin_plate_spline'
  )
  return size, np.abs(spline(grid(MIDDLES)).reshape(SIDE, SIDE, 2) - seen.fields[0]).max()


def cells(seen):
  """The number of cells per side, half the range of the stretches, and the error of the field along x."""
  stretch = np.asarray(seen.params['stretch'])
  steps = stretch.shape[-1]
  widths = (1 + stretch[0, 0]) / (1 + stretch[0, 0]).sum()
  knots = np.concatenate([[0], np.cumsum(widths)]) * SIDE
  shown = np.interp(MIDDLES, np.linspace(0, SIDE, steps + 1), knots)
  return steps, stretch.std() * 3**0.5, np.abs(seen.fields[0, :, :, 0] - (shown - MIDDLES)).max()


def smoothness(seen):
  """The least displacement if all control points move by one side, and the scaled squared difference of neighbours."""
  ones = jnp.ones(seen.params['control'].shape[1:])
  least = seen.op.apply(seen.size, ones, seen.params['sigma'][0]).min() / SIDE
  differences = np.diff(seen.fields, axis=1).ravel(), np.diff(seen.fields, axis=2).ravel()
  return least, np.mean(np.square(differences)) / (2 * (0.277 * 0.05 * SIDE) ** 2)


def unlike(sigma):
  """1, and 1 minus the correlation of splines one pixel apart: a Gaussian, its variance 2/3 of the squared spacing."""
  return 1, 1 - np.exp(-0.75 / (3**0.5 * sigma * SIDE) ** 2)


def control(seen):
  return seen.params['control'].shape[1], seen.fields.std() / (0.05 * SIDE)


# Pieces


def tall(seen):
  """The mean number of places where the next row or column is not the next one of the image."""
  axis = 0 if seen.settings['cols'] == 1 else 1
  rows = jnp.arange(256).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
  shuffled = jax.vmap(lambda params: seen.op.apply(rows, **params))(seen.params)
  return (np.diff(np.asarray(shuffled).reshape(seen.n, -1)) != 1).sum(1).mean()


# Filters, noise


def filtered(function, image):
  return np.stack([function(channel) for channel in np.moveaxis(image, -1, 0).astype(np.float64)], -1)


def spread(seen):
  weight = seen.images[0, 0, :, 0]
  return np.sqrt((weight * (np.arange(len(weight)) - len(weight) // 2) ** 2).sum())


def streak(seen):
  """The variance along and across a horizontal line."""
  line = seen.augmented(seen.params | {'angle': jnp.zeros(seen.n)})[0, ..., 0]
  away = (np.arange(SIDE) - SIDE // 2) ** 2
  return (line.sum(0) * away).sum(), (line.sum(1) * away).sum()


def exposures(length):
  """The expected variances for nine exposures, each interpolated between two pixels."""
  at = np.linspace(-0.5, 0.5, 9) * (length - 1)
  below, part = np.floor(at), at - np.floor(at)
  return ((1 - part) * below**2 + part * (below + 1) ** 2).mean(), 0


def smoothed(channel):
  smooth = ndimage.correlate(channel, np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13)
  smooth[[0, -1]], smooth[:, [0, -1]] = channel[[0, -1]], channel[:, [0, -1]]
  return smooth


def unsharp(seen):
  """The factor by which the detail that a Gaussian removes was added, for images in which nothing is clipped."""
  sigma = float(seen.params['sigma'][0])
  detail = seen.image - filtered(lambda x: ndimage.gaussian_filter(x, sigma, mode='mirror', radius=5), seen.image)
  return ((seen.images[0] - seen.image) * detail).sum() / (detail**2).sum()


def noise(seen):
  return seen.images.mean(), seen.images.std()


def clipped_normal(std):
  values = np.clip(HALF + std * stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000), 0, 1)
  return values.mean(), values.std()


def clipped_poisson(scale):
  if scale == 0:
    return HALF, 0
  values = np.clip(scale * stats.poisson(HALF / scale).ppf((np.arange(100_000) + 0.5) / 100_000), 0, 1)
  return values.mean(), values.std()


def salted(seen):
  return (seen.images == 1).mean(), (seen.images == 0).mean()


def loss(seen):
  return np.abs(seen.images[0] - seen.image).mean()


def by_pillow(quality):
  buffer = io.BytesIO()
  Image.fromarray(SMOOTH).save(buffer, 'JPEG', quality=quality)
  return np.abs(np.asarray(Image.open(buffer)).astype(float) - SMOOTH).mean() / 255


# Occlusion


def in_the_middle(seen):
  return 1 - seen.augmented(seen.params | {'centre': jnp.full((seen.n, 2), 0.5)}).mean()


def longest(seen):
  return np.abs(np.log(seen.many['height'] / seen.many['width'])).max()


def units(seen):
  """The number of hidden squares in the first row that crosses any, with its ends joined."""
  params = jax.tree.map(lambda x: x[0], seen.params)
  hidden = np.asarray(seen.op.apply(np.ones(seen.image.shape, np.float32), **params))[..., 0] == 0
  row = hidden[np.argmax(hidden.any(1))].astype(int)
  return (np.diff(row, append=row[0]) == 1).sum()


def turned(seen):
  """The share of pixels of a rotated grid that agree with the grid computed by rotating back."""
  params = {name: np.asarray(value)[:, None, None] for name, value in seen.params.items() if name != 'offset'}
  x, y = np.meshgrid(MIDDLES, MIDDLES)
  angle = np.deg2rad(float(seen.settings['max_degrees'][0]))
  point = np.exp(1j * angle) * (x + 1j * y) / (params['unit'] * SIDE)
  offset = np.asarray(seen.params['offset'])[:, None, None]
  inside = [(part - offset[..., i]) % 1 < params['ratio'] for i, part in enumerate((point.real, point.imag))]
  return ((seen.images[..., 0] == 0) == (inside[0] & inside[1])).mean()


def holes(seen):
  return seen.params['boxes'].shape[1], seen.hidden.mean()


def covered(count):
  """The number of squares with a side of 0.1, and the expected share of the image that at least one of them hides."""
  x = MIDDLES / SIDE
  over = (np.minimum(x, 0.9) - np.maximum(x - 0.1, 0)) / 0.9
  return count, 1 - ((1 - np.outer(over, over)) ** count).mean()


# Mixing


def spectra(seen):
  """The share of frequencies that have the partner's amplitude."""
  theirs, mixed = (np.abs(np.fft.fft2(x, axes=(0, 1))) for x in (partner(SOFT), seen.images[0]))
  return np.isclose(mixed, theirs, atol=1e-3).mean()


def up_to(beta):
  """The share of frequencies with at most `beta` times the side in periods along each axis."""
  periods = np.abs(np.fft.fftfreq(SIDE, 1 / SIDE))
  return (np.maximum(periods, periods[:, None]) <= beta * SIDE).mean() if beta else 0


def weighted(seen):
  """The variance of the weights about 1/2, and the largest error of the share that comes from the partner."""
  weight = np.asarray(seen.params['weight'])
  return np.mean((np.asarray(seen.many['weight']) - 0.5) ** 2), np.abs(seen.pasted - (1 - weight)).max()


def beta_variance(alpha):
  return 1 / (4 * (2 * alpha + 1)), 0


def boxes(seen):
  left, top, right, bottom = np.asarray(seen.many['box']).T
  mine = np.asarray(seen.params['box']).T
  return ((right - left) * (bottom - top)).mean(), np.abs(seen.pasted - (mine[2] - mine[0]) * (mine[3] - mine[1])).max()


def cut_off(alpha):
  """The mean area of squares centred anywhere and clipped at the frame, if the kept share is Beta(alpha, alpha)."""
  kept = stats.beta(alpha, alpha).ppf((np.arange(1000) + 0.5) / 1000) if alpha else np.ones(1)
  side = np.sqrt(1 - kept)
  return ((side - side**2 / 4) ** 2).mean(), 0


def centres(seen):
  centre = np.asarray(seen.many['centre'])
  return centre.min(), centre.max()
