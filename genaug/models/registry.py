"""Every network that a config can name as `model.network`."""

from genaug.models import classifiers, dcgan, unet, vae

NETWORKS = {
  'dcgan': dcgan.DCGAN,
  'conv_vae': vae.CONV_VAE,
  'unet': unet.UNET,
  'cnn': classifiers.SMALL_CNN,
  'resnet20': classifiers.RESNET20,
  'wrn16_4': classifiers.WRN16_4,
}
