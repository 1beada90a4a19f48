"""Style transfer: the keys of task `style`."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'style'
  c.model.network = 'stylizer'
  c.model.width = 32
  c.model.blocks = 5                    # residual blocks
  c.model.norm = 'instance'             # instance | batch, which learns worse (Ulyanov et al. 2017, arXiv:1701.02096)
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.update(base.optimizer_overrides('stylizer'))
  c.train.batch_size = 8
  c.eval.metrics = ('style',)
  c.eval.batch_size = 16                # VGG16 keeps all its activations

  c.style = ConfigDict()
  c.style.images = ()                   # paths of image files, one per style: ('wave.jpg', 'scream.jpg')
  c.style.scale = 1.0                   # side of these, cropped square and resized, relative to the training images'
  c.style.content_weight = 1.0          # weight of the distance to the content's activations (relu2_2 of VGG16)
  c.style.style_weight = 1.0            # weight of the distance to the style's Gram matrices (relu1_2, 2_2, 3_3, 4_3);
                                        # tune it first for a new style
  c.style.tv_weight = 10.0              # weight of total variation: squared differences of neighbours, pixels in [0, 1]
  # fmt: on
  return c.lock()
