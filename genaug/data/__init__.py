"""Data sets as uint8 arrays in memory. Nothing here augments, and reading prepared data needs no TensorFlow."""
