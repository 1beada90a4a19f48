"""Flow matching on your own images, with non-leaky augmentation (Karras et al. 2022, appendix F, arXiv:2206.00364).

make train CONFIG=configs/flow_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"

A folder of class/file.png (or .jpg, ...), cropped square and resized to 64x64. Measured at 1,200 steps
on 175 crops of raccoons (experiments/results/README.md), not yet at this config's steps.
"""

from configs.families import flow


def get_config():
  c = flow.augmented()
  c.data.name = 'image_folder'
  c.augment.hflip.p = 0.5
  c.model.conditional = False  # True: a class for each folder
  c.eval.samples = 1000
  return c
