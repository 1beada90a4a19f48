"""Google's emoji to Twitter's: pix2pix on pairs (Isola et al. 2017, arXiv:1611.07004), or :cut, :cyclegan without.

make data DATASET=emoji64/google_to_twitter && make train CONFIG=configs/translate_emoji64.py:cut

CUT: Park et al. 2020, arXiv:2007.15651. CycleGAN: Zhu et al. 2017, arXiv:1703.10593. Those two never see a
pair; all three are scored on pairs of test images: experiments/results/README.md.
"""

from configs.families import translation


def get_config(method='pix2pix'):
  c = translation.get_config(method)
  c.augment.hflip.p = 0.5
  c.augment.border = 'edge'
  return c
