"""Flow matching on 3,415 emoji of 64x64 pixels in colour (Lipman et al. 2023, arXiv:2210.02747).

make data DATASET=emoji64/google && make train CONFIG=configs/flow_emoji64.py

After 8,000 steps on a CPU core, faces can be told, most other emoji are blobs: experiments/results/README.md. On a
GPU: --config.model.width=128 --config.train.steps=100_000.
"""

from configs.families import flow


def get_config():
  c = flow.get_config()
  c.data.name = 'emoji64/google'  # or emoji64/twitter
  c.augment.hflip.p = 0.5
  c.augment.border = 'edge'
  c.model.dropout = 0.1
  c.flow.augment = ('translate', 'zoom', 'rotate')
  c.eval.samples = 1000
  return c
