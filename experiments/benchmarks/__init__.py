"""The benchmarks of experiments.bench: genaug against other libraries, in features, speed and quality."""
