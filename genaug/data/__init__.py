"""Data sets as uint8 arrays in memory; nothing here augments, nothing here needs TensorFlow to read."""
