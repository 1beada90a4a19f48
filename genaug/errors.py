"""The one exception that means: your input is wrong, not the program."""


class InputError(ValueError):
  """Bad configuration, data or files. Programs print it without a traceback and exit with status 2.

  The message names the key, the value found and the remedy.
  """

  def __init__(self, key: str, value: object, problem: str, remedy: str):
    super().__init__(f'{key} = {value!r}: {problem}\n  remedy: {remedy}')
    self.key = key
