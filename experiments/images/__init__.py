"""What preview and augment_folder do to images on disk."""
