"""GAN for few images of your own: a folder of class/file.png (or .jpg, ...), cropped square and resized to 64x64.

make train CONFIG=configs/gan_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"

DCGAN with DiffAugment (Zhao et al. 2020, arXiv:2006.10738) or, after the colon, ada (Karras et al. 2020,
arXiv:2006.06676). On 200 images of Fashion-MNIST (3 seeds) these two have the lowest FD and KID, and neither is clearly
ahead. On 100 (one seed) they have the lowest FD of all models that do not copy the images, as flow matching does.
On 1,000 (one seed) DiffAugment no longer lowers FD. All results: experiments/results/README.md.
"""

from configs.families import gan


def get_config(variant='diffaug'):
  c = gan.dcgan(variant)
  c.data.name = 'image_folder'
  c.augment.hflip.p = 0.5
  c.model.conditional = False  # True: a class for each folder
  c.eval.samples = 1000
  return c
