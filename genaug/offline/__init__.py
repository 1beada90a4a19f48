"""Augmentation outside training: copies of a folder of images on disk, and sheets that show what a config does."""
