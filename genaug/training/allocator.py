"""The C library's allocator, set for a program that computes on the CPU. Imports no JAX: it must come first."""

import ctypes


def keep_freed_memory() -> None:
  """Tells glibc to keep large freed blocks for the next step, instead of returning them only to fault them in again.

  Call it before JAX starts its backend: a thread that has an arena of its own keeps it, and blocks above 64 MiB don't
  fit one, so that every call would map, fault in and unmap them. Elsewhere than on Linux nothing happens.
  """
  if hasattr(libc := ctypes.CDLL(None), 'mallopt'):
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # names in malloc.h
    libc.mallopt(arena_max, 1)
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
