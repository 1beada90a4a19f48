"""Settings of the C library's allocator for computing on the CPU. Imports no JAX, as it is called before JAX starts."""

import ctypes


def keep_freed_memory() -> None:
  """Makes glibc keep large freed blocks for the next step, instead of returning them only to fault them in again.

  Call it before JAX starts its backend: a thread that already has its own arena keeps it, and blocks above 64 MiB don't
  fit into one, so that every call would map, fault in and unmap them. Does nothing outside Linux.
  """
  if hasattr(libc := ctypes.CDLL(None), 'mallopt'):
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # M_TRIM_THRESHOLD and so on of malloc.h
    libc.mallopt(arena_max, 1)
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
