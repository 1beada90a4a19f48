"""What `import genaug` loads, and how a config's parameters are set."""

import json
import subprocess
import sys

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from genaug.augment import Pipeline
from tests.conftest import ROOT

# How ml_collections loads a config file.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
FOREIGN = ('flax', 'orbax', 'optax', 'tensorflow_datasets', 'tensorflow', 'ml_collections', 'absl', 'PIL', 'tqdm')
SCRIPT = f"""
import sys
import genaug
assert 'jax' not in sys.modules
assert genaug.__version__[0].isdigit()
assert callable(genaug.augment.random_rotate)
loaded = {{name.partition('.')[0] for name in sys.modules}}
assert not loaded & set({FOREIGN!r}), loaded & set({FOREIGN!r})
ours = [name for name in sys.modules if name.startswith('genaug.') and not name.startswith('genaug.augment')]
assert not ours, ours
try:
  genaug.augmentation
except AttributeError as error:
  assert 'augmentation' in str(error)
else:
  raise AssertionError
"""


def test_importing_the_operations_loads_jax_and_nothing_of_training():
  subprocess.run([sys.executable, '-c', SCRIPT], cwd=ROOT, check=True, timeout=120)


def parsed(*arguments):
  """The config of a command line with these flags."""
  values = flags.FlagValues()
  argv = ['program', f'--config={ROOT}/configs/classify_mnist5k.py', *arguments]
  config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=argv)
  values(argv)
  return values.config


@pytest.mark.parametrize(('text', 'value'), [('(0, 30)', (0, 30)), ('[0, 30]', [0, 30]), ('15', 15), ('1.5', 1.5)])
def test_a_parameter_is_a_number_or_a_pair_on_the_command_line(text, value):
  config = parsed(f'--config.augment.rotate.degrees={text}')
  assert config.augment.rotate.degrees == value
  Pipeline.from_config(config.augment).check((16, 16, 3))
  again = ConfigDict(json.loads(config.to_json()))
  Pipeline.from_config(again.augment).check((16, 16, 3))
  assert again.augment.rotate.degrees == (list(value) if isinstance(value, tuple) else value)
  config.update_from_flattened_dict({'augment.rotate.degrees': 12.0, 'augment.zoom.limit': [0.5, 1.5]})
  assert (config.augment.rotate.degrees, config.augment.zoom.limit) == (12.0, [0.5, 1.5])


@pytest.mark.parametrize('value', ['wide', '(30, 0)', '(0, 400)', '(1, 2, 3)', 'None'])
def test_what_is_neither_is_refused_with_what_is_allowed(value):
  config = parsed(f'--config.augment.rotate.degrees={value}')
  message = r'^rotate = .*degrees = .*: must lie in \[0, 180\] degrees or a pair \(low, high\) in \[-180, 180\]'
  with pytest.raises(ValueError, match=message):
    Pipeline.from_config(config.augment).check((16, 16, 3))


def test_unknown_keys_are_refused():
  with pytest.raises(AttributeError, match='degrees'):
    parsed('--config.augment.rotate.degres=15')
  with pytest.raises(TypeError):
    parsed().augment.rotate.p = 'always'
