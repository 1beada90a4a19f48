"""The two exceptions that end a run through no fault of the program; programs print them without a traceback."""


class InputError(ValueError):
  """Bad configuration, data or files. Programs exit with status 2.

  The message names the key, the value found and the remedy.
  """

  def __init__(self, key: str, value: object, problem: str, remedy: str):
    super().__init__(f'{key} = {value!r}: {problem}\n  remedy: {remedy}')
    self.key = key


class DivergedError(RuntimeError):
  """Training produced a number that is not finite. Programs exit with status 1."""

  def __init__(self, step: int, name: str, value: float):
    remedy = 'lower optim.lr and name another --workdir; checkpoints of earlier steps are kept'
    super().__init__(f'training diverged: {name} = {value} at step {step}\n  remedy: {remedy}')
    self.step = step
