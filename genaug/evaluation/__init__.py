"""How good are samples and densities: features, distances between sets, and what each run reports."""
