"""The Jinja environment of the page: strings are escaped unless they are markup of ours; missing names are errors."""

import base64
import json
import pathlib

import jinja2


def number(value: object) -> str:
  """Formats integers in full and floats with four significant digits; anything else as str does."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)
  return f'{value:,}' if isinstance(value, int) else f'{value:.4g}'


def _inlined(path: pathlib.Path) -> str:
  return 'data:image/png;base64,' + base64.b64encode(path.read_bytes()).decode()


ENVIRONMENT = jinja2.Environment(
  loader=jinja2.FileSystemLoader(pathlib.Path(__file__).with_name('templates')),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)
ENVIRONMENT.filters |= {'inlined': _inlined, 'indented': lambda value: json.dumps(value, indent=2)}
