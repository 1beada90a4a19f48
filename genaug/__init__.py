"""genaug: learning from few images with augmentation inside the training step, GANs and VAEs."""
