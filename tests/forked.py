"""Server of conftest.py: imports everything once and forks a process for each program, which then starts at once.

Reads lines of JSON, [environment variables, module, argument ...], and answers each with [status, stdout, stderr].
"""

import gc
import importlib
import json
import os
import runpy
import sys
import tempfile
import warnings

_IMPORTED = (  # modules that programs import; none of them defines flags, starts a thread or initialises devices
  'experiments.report.page',
  'genaug.offline.lossless',
  'genaug.offline.restoration',
  'genaug.offline.stylization',
  'genaug.offline.upscaling',
  'genaug.study.seeds',
  'genaug.training.loop',
  'matplotlib.backends.backend_agg',
  'matplotlib.figure',
  'scipy.stats',
)


def main() -> None:
  warnings.simplefilter('ignore')  # at every fork JAX warns of threads, none of which has started yet
  for name in _IMPORTED:
    importlib.import_module(name)
  gc.collect()
  gc.freeze()  # a garbage collection in a child would copy all of the parent's pages
  for line in sys.stdin:
    variables, module, *arguments = json.loads(line)
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
      child = os.fork()
      if not child:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.environ.update(variables)
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
