"""Run by conftest.py: programs that start at once, because a process that has imported everything forks for each.

Reads lines of JSON, [module, argument ...], and answers each with [status, stdout, stderr].
"""

import json
import os
import runpy
import sys
import tempfile
import warnings

import genaug.training.loop  # noqa: F401


def main() -> None:
  warnings.simplefilter('ignore')  # JAX may start threads and says so of every fork; none has started yet
  for line in sys.stdin:
    module, *arguments = json.loads(line)
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
      child = os.fork()
      if not child:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.argv = [module, *arguments]
        try:
          runpy.run_module(module, run_name='__main__', alter_sys=True)
          status = 0
        except SystemExit as exit:
          status = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
      status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
      texts = []
      for file in (out, err):
        file.seek(0)
        texts.append(file.read())
    print(json.dumps([status, *texts]), flush=True)


if __name__ == '__main__':
  main()
