"""From a config to a trained model in a workdir: the loop, its checks, checkpoints, metrics and pictures."""
