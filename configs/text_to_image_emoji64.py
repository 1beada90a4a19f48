"""Emoji from their names: text-conditional flow matching with guidance (Ho and Salimans 2022, arXiv:2207.12598).

make data DATASET=emoji_captions/google && make train CONFIG=configs/text_to_image_emoji64.py
python -m experiments.sample --workdir runs/text_to_image_emoji64 --text "waving hand, dark skin" --output out

Captions of test images combine words as no training caption does. About 35 minutes on a CPU: skin tones and figures
show, but few are the right ones (experiments/results).
"""

from configs.families import text_to_image


def get_config():
  c = text_to_image.get_config()
  c.model.dropout = 0.1
  c.train.steps = 6000
  c.train.batch_size = 32
  c.eval.samples = 500
  c.eval.every = 3000
  return c
