"""One image file: whatever it holds comes as 8-bit sRGB, upright; what can't is named."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from genaug.data import image_file
from tests.conftest import noise


def test_resize_of_even_factor_is_antialiased(tmp_path):
  stripes = np.tile(np.array([[0, 255]], np.uint8), (32, 16))
  Image.fromarray(stripes).save(tmp_path / 'x.png')
  x = image_file.read_square(tmp_path / 'x.png', 8, 1)
  assert x.shape == (8, 8, 1)
  # Without antialiasing the one-pixel stripes would survive as 0 or 255.
  np.testing.assert_allclose(x, 127.5, atol=12)


def test_transparent_images_are_put_on_white(tmp_path):
  rgba = noise(8, 8, 4)
  Image.fromarray(rgba).save(tmp_path / 'x.png')
  alpha = rgba[..., 3:] / 255
  expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
  np.testing.assert_allclose(image_file.read_square(tmp_path / 'x.png', 8, 3), expected, atol=1.0)


# Pillow's ImageOps.exif_transpose is the reference; 0 and 9 are no orientations.
@pytest.mark.parametrize('orientation', range(10))
def test_images_come_upright(orientation, tmp_path):
  x = noise(6, 9, 3)
  turned = {2: x[:, ::-1], 3: x[::-1, ::-1], 4: x[::-1], 5: x.swapaxes(0, 1), 6: np.rot90(x, -1)}
  turned |= {7: np.rot90(x, 2).swapaxes(0, 1), 8: np.rot90(x)}
  exif = Image.Exif()
  exif[0x0112] = orientation
  Image.fromarray(x).save(tmp_path / 'x.png', exif=exif)
  expected = turned.get(orientation, x)
  np.testing.assert_array_equal(image_file.read_image(tmp_path / 'x.png').pixels, expected)
  assert image_file.read_header(tmp_path / 'x.png')[:2] == expected.shape[:2]


def test_damaged_exif_costs_no_image(tmp_path):
  x = noise(8, 8, 3)
  Image.fromarray(x).save(tmp_path / 'x.png', exif=b'Exif\0\0MM\0*\0\0\0\x08\xff\xff' + bytes(range(200)))
  np.testing.assert_array_equal(image_file.read_image(tmp_path / 'x.png').pixels, x)


def test_grey_and_palettes(tmp_path):
  grey = noise(8, 8)
  Image.fromarray(grey).save(tmp_path / 'grey.png')
  np.testing.assert_array_equal(image_file.read_square(tmp_path / 'grey.png', 8, 3), np.repeat(grey[..., None], 3, 2))
  palette = Image.fromarray(grey).convert('P')
  palette.save(tmp_path / 'palette.png', transparency=int(np.asarray(palette)[0, 0]))
  assert (image_file.read_square(tmp_path / 'palette.png', 8, 3)[0, 0] == 255).all()


@pytest.mark.parametrize(
  ('suffix', 'dtype', 'white', 'bits'),
  [
    ('.png', np.uint16, 65535, 16),
    ('.png', np.uint16, 4095, 12),
    ('.tif', np.uint16, 1023, 10),
    ('.tif', np.int32, 16383, 14),
    ('.tif', np.float32, 1.0, 1),
    ('.tif', np.float32, 255.0, 8),
  ],
)
def test_deep_grey_is_scaled_by_the_range_that_it_has(suffix, dtype, white, bits, tmp_path):
  path, grey = tmp_path / f'x{suffix}', np.linspace(0, 1, 64).reshape(8, 8)
  values = (grey * white).astype(dtype)
  Image.fromarray(values).save(path)
  assert image_file.read_header(path).is_deep
  assert image_file.bits_of(image_file.brightest(path)) == bits
  np.testing.assert_allclose(image_file.read_image(path, bits).pixels[..., 0], grey * 255, atol=0.5 + 255 / white / 2)
  assert image_file.brightest(io.BytesIO(_png(noise(4, 4)))) == 0


@pytest.mark.parametrize('value', [-1.0, np.nan, np.inf, 1e6])
def test_values_that_are_no_grey_are_refused(value, tmp_path):
  Image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / 'x.tif')
  with pytest.raises(image_file.UnreadableError, match='8 or 16 bits'):
    image_file.brightest(tmp_path / 'x.tif')
  with pytest.raises(image_file.UnreadableError, match='8 or 16 bits'):
    image_file.read_image(tmp_path / 'x.tif', bits=12)


def test_one_transparent_value_of_deep_grey(tmp_path):
  values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
  Image.fromarray(values).save(tmp_path / 'x.png', transparency=5000)
  read = image_file.read_image(tmp_path / 'x.png')
  assert read.mode == 'LA'
  np.testing.assert_array_equal(read.pixels[..., 1] == 0, values == 5000)
  assert image_file.read_square(tmp_path / 'x.png', 8, 1)[0, 5] == 255


def test_colours_of_a_profile_are_converted_to_srgb(tmp_path):
  x = noise(8, 8, 3)
  lab = ImageCms.createProfile('LAB')
  srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
  # sRGB's own profile with red and green exchanged, under another name.
  swapped = srgb.replace(b'rXYZ', b'tmp_').replace(b'gXYZ', b'rXYZ').replace(b'tmp_', b'gXYZ')
  swapped = swapped.replace('sRGB'.encode('utf-16-be'), 'own_'.encode('utf-16-be'))
  Image.fromarray(x).save(tmp_path / 'srgb.png', icc_profile=srgb)
  Image.fromarray(x).save(tmp_path / 'swapped.png', icc_profile=swapped)
  np.testing.assert_array_equal(image_file.read_image(tmp_path / 'srgb.png').pixels, x)
  np.testing.assert_allclose(image_file.read_image(tmp_path / 'swapped.png').pixels, x[..., [1, 0, 2]], atol=2)
  for profile in (b'nothing', ImageCms.ImageCmsProfile(lab).tobytes()):
    Image.fromarray(x).save(tmp_path / 'other.png', icc_profile=profile)
    with pytest.warns(UserWarning, match='taken as sRGB'):
      read = image_file.read_image(tmp_path / 'other.png').pixels
    np.testing.assert_array_equal(read, x)


def test_a_large_jpeg_is_decoded_smaller_with_little_difference(tmp_path):
  smooth = Image.fromarray(noise(20, 25, 3)).resize((1000, 800), Image.Resampling.BICUBIC)
  smooth.save(tmp_path / 'x.jpg', quality=95)
  smooth.save(tmp_path / 'x.png')
  small, whole = (image_file.read_square(tmp_path / f'x.{kind}', 64, 3).astype(float) for kind in ('jpg', 'png'))
  assert np.abs(small - whole).mean() < 1


def test_files_that_are_cut_short_are_read_on_request(tmp_path):
  path = tmp_path / 'x.jpg'
  Image.fromarray(noise(64, 64, 3)).save(path)
  path.write_bytes(path.read_bytes()[:-500])
  with pytest.raises(image_file.UnreadableError, match=r'truncated.*--config.data.load_truncated=True'):
    image_file.read_image(path)
  with image_file.truncated_files(True):
    assert image_file.read_image(path).pixels.shape == (64, 64, 3)
  with pytest.raises(image_file.UnreadableError):
    image_file.read_image(path)


def test_too_large_images_and_missing_ones_are_called_that(tmp_path, monkeypatch):
  Image.fromarray(noise(64, 64, 3)).save(tmp_path / 'x.png')
  with pytest.raises(image_file.UnreadableError, match=r'cannot be read.*No such file'):
    image_file.read_image(tmp_path / 'y.png')
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
  with pytest.raises(image_file.UnreadableError, match=r'megapixels.*save it smaller'):
    image_file.read_header(tmp_path / 'x.png')


def test_12_bit_colours_in_16_bit_files_are_not_read_as_black(tmp_path):
  import struct
  import zlib

  def chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

  for name, white in (('dark', 4095), ('whole', 65535)):
    values = (np.linspace(0, white, 48).reshape(4, 4, 3)).astype('>u2')
    rows = b''.join(b'\0' + row.tobytes() for row in values)
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', 4, 4, 16, 2, 0, 0, 0))
    content = b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    (tmp_path / f'{name}.png').write_bytes(content)
  with pytest.raises(image_file.UnreadableError, match='16 bits'):
    image_file.read_image(tmp_path / 'dark.png')
  assert image_file.read_image(tmp_path / 'whole.png').pixels.max() == 255


def _png(x) -> bytes:
  file = io.BytesIO()
  Image.fromarray(x).save(file, 'PNG')
  return file.getvalue()
