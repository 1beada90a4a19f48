"""Training of a model from a config into a workdir: the loop, its checks, checkpoints, metrics and pictures."""
