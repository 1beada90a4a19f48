"""What the README says to type works: snippets run, commands name targets, programs, flags and files that exist."""

import pathlib
import re

import pytest

from tests.conftest import ROOT

README = (ROOT / 'README.md').read_text()


def _blocks(language: str) -> list[str]:
  return re.findall(rf'```{language}\n(.*?)```', README, re.S)


def test_what_is_written_by_hand_is_short():
  written = re.sub(r'<!-- (\w+) -->.*?<!-- end of \1 -->', '', README, flags=re.S)
  assert len(written.splitlines()) <= 130


def test_the_python_snippets_run_one_after_another():
  names: dict = {}
  for block in _blocks('python'):
    exec(compile(block, 'README.md', 'exec'), names)
  assert names['augmented']['image'].shape == names['replayed']['image'].shape == (8, 64, 64, 3)


@pytest.mark.parametrize('line', [line for block in _blocks('sh') for line in block.splitlines() if line.strip()])
def test_commands_name_what_exists(line):
  command = line.split('#')[0]
  makefile = (ROOT / 'Makefile').read_text()
  for target in re.findall(r'\bmake (\w+)', command):
    assert re.search(rf'^{target}:', makefile, re.M), target
  programs = re.findall(r'-m experiments\.(\w+)', command) or re.findall(r'make (train)', command)
  for file in re.findall(r'configs/[\w/]+\.py', command):
    assert (ROOT / file).is_file(), file
  for name in programs:
    place = ROOT / 'experiments' / name
    place = place.with_suffix('.py') if place.with_suffix('.py').is_file() else place / '__main__.py'
    source = place.read_text() + (ROOT / 'experiments' / 'cli.py').read_text()
    for flag in re.findall(r'--([a-z_-]+)', command):
      if flag != 'config':
        assert f"'{flag.replace('-', '_')}'" in source, flag


def test_links_lead_somewhere():
  for target, heading in re.findall(r'\]\(([^)#]+)(?:#([^)]+))?\)', README):
    assert '://' in target or pathlib.Path(ROOT / target).exists(), target
    if heading:
      headings = re.findall(r'^#+ (.+)$', (ROOT / target).read_text(), re.M)
      assert heading in [re.sub(r'[^a-z0-9_ -]', '', text.lower()).replace(' ', '-') for text in headings], heading
