"""Losses, which return one value per example, [b], for callers to average, and the terms that they are made of."""
