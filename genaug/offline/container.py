"""File format of compressed images: a header that says what they were made with, checksums, and the coder's words."""

import hashlib
import importlib.metadata
import json
import pathlib
import platform
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree, UInt8
from ml_collections import ConfigDict

from genaug.errors import InputError
from genaug.training import workdir

try:
  from constriction import stream
except ImportError:
  raise InputError('package', 'constriction', 'not installed', 'pip install "genaug[compress]"') from None

_MAGIC = b'genaug2\n'
_LARGEST_HEADER = 1 << 26  # bytes, unpacked; a file with a larger one is not ours

_LARGEST_SIDE = 1 << 16  # pixels

Image = UInt8[np.ndarray, 'h w c']
Progress = Callable[[Sequence[int]], Iterable[int]]


class Compressed(NamedTuple):
  """A compressed file, and what its size is made of."""

  content: bytes  # of the file
  bound_bits: float  # what the images cost by the model
  initial_bits: int  # random ones that bits-back coding starts from; the content includes them
  header_bytes: int


def digest(config: ConfigDict, sections: Sequence[str], params: PyTree) -> str:
  """Returns a digest of all that decides which distributions the networks give."""
  settings = [config.dtype, *(config[name].to_dict() for name in sections)]
  sha = hashlib.sha256(json.dumps(settings).encode())
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    sha.update(str(path).encode() + np.ascontiguousarray(leaf).tobytes())
  return sha.hexdigest()[:32]


def checksum(images: Sequence[Image]) -> int:
  crc = 0
  for image in images:
    crc = zlib.crc32(np.ascontiguousarray(image), crc)
  return crc


def pack(header: Mapping[str, Any], payload: bytes) -> tuple[bytes, int]:
  """Returns (content of a file, number of its bytes that are header)."""
  text = json.dumps({**header, **_platform()}).encode()
  if len(text) > _LARGEST_HEADER:
    problem = f'names and sizes take {len(text) >> 20} MiB, and the limit is {_LARGEST_HEADER >> 20} MiB'
    raise InputError('input', 'images', problem, 'compress them into several files')
  packed = zlib.compress(text, 9) + struct.pack('<I', zlib.crc32(payload))
  head = _MAGIC + struct.pack('<II', len(packed), zlib.crc32(packed)) + packed
  return head + payload, len(head)


def unpack(content: bytes, model: str) -> tuple[dict[str, Any], bytes]:
  """Returns (header, payload) of a file. Raises InputError unless `pack` made it, by this model on this platform."""
  damaged = InputError('input', 'file', 'damaged: it was truncated or changed', 'compress the images again')
  if content[: len(_MAGIC)] != _MAGIC:
    raise InputError(
      'input',
      'file',
      'not a file of experiments.compress, or of another version',
      'name a file that this version wrote',
    )
  start = len(_MAGIC) + 8
  if len(content) < start:
    raise damaged
  size, expected = struct.unpack('<II', content[len(_MAGIC) : start])
  packed, payload = content[start : start + size], content[start + size :]
  if len(packed) != size or zlib.crc32(packed) != expected:
    raise damaged
  if zlib.crc32(payload) != struct.unpack('<I', packed[-4:])[0] or len(payload) % 4:
    raise damaged
  try:
    unpacker = zlib.decompressobj()
    header = json.loads(unpacker.decompress(packed[:-4], _LARGEST_HEADER))
    whole = unpacker.eof and _is_header(header)
  except (zlib.error, ValueError, RecursionError):
    whole = False
  if not whole:
    raise InputError('input', 'header', 'not as experiments.compress writes it', 'do not trust the file')
  if header['model'] != model:
    raise InputError('input', 'model', 'compressed by another model', 'name its --workdir and --checkpoint')
  here = _platform()
  if different := [f'{name} {header[name]}, here {here[name]}' for name in here if header[name] != here[name]]:
    problem = f'compressed with {"; ".join(different)}: results would differ in their last bits'
    raise InputError('input', 'platform', problem, 'decompress where it was compressed, with the same versions')
  if any(path.is_absolute() or '..' in path.parts for path in map(pathlib.PurePosixPath, header['names'])):
    raise InputError('input', 'names', 'some lead out of the folder that --output names', 'do not trust the file')
  return header, payload


def _is_header(header: Any) -> bool:
  """Whether a header has all its fields, of the right types."""
  texts, numbers = ('model', *_platform()), ('pixels',)
  if not isinstance(header, dict) or not {*texts, *numbers, 'shapes', 'names'} <= header.keys():
    return False
  names, shapes = header['names'], header['shapes']
  return (
    all(isinstance(header[name], str) for name in texts)
    and all(isinstance(header[name], int) for name in numbers)
    and isinstance(shapes, list)
    and all(isinstance(one, list) and len(one) == 2 and all(_is_side(side) for side in one) for one in shapes)
    and len(shapes) > 0
    and isinstance(names, list)
    and all(isinstance(name, str) for name in names)
    and len(names) in (0, len(shapes))
    and len(set(names)) == len(names)
  )


def _is_side(side: Any) -> bool:
  return type(side) is int and 0 < side <= _LARGEST_SIDE


def ans_decoder(payload: bytes) -> stream.stack.AnsCoder:
  """Returns a coder that holds the payload. Raises InputError for words that no coder left behind."""
  try:
    return stream.stack.AnsCoder(np.frombuffer(payload, '<u4').astype(np.uint32))
  except ValueError:
    raise InputError('input', 'payload', 'not as experiments.compress writes it', 'do not trust the file') from None


def on_cpu(params: PyTree) -> PyTree:
  """Moves parameters to the CPU, which computes the same every time; a GPU may choose another algorithm each time."""
  return jax.device_put(jax.device_get(params), jax.devices('cpu')[0])


def check_pixels(images: Sequence[Image], header: Mapping[str, Any]) -> None:
  """Raises InputError if the decoded images are not those that were encoded."""
  if checksum(images) != header['pixels']:
    problem = 'what was decoded is not what was encoded: this machine rounds differently from the one that compressed'
    raise InputError('input', 'pixels', problem, f'decompress on the same kind of machine ({header["machine"]})')


def _platform() -> dict[str, str]:
  return {
    'jax': jax.__version__,
    'jaxlib': importlib.metadata.version('jaxlib'),
    'numpy': np.__version__,
    'constriction': importlib.metadata.version('constriction'),
    'machine': platform.machine(),
  }


def write(path: pathlib.Path, content: bytes) -> None:
  """Writes a file atomically. Raises InputError if it cannot be written."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    workdir.write_atomic(path, content)
  except OSError as error:
    raise InputError('output', str(path), f'cannot be written: {error.strerror}', 'name another --output') from None
