"""Every network that a config can name as `model.network`."""

from genaug.models import (
  classifiers,
  dcgan,
  fsq,
  hyperprior,
  r3gan,
  resnet_gan,
  stylizer,
  superres,
  translators,
  unet,
  vae,
)

NETWORKS = {
  'dcgan': dcgan.DCGAN,
  'resnet': resnet_gan.RESNET_GAN,
  'r3': r3gan.R3GAN,
  'conv_vae': vae.CONV_VAE,
  'resnet_vae': vae.RESNET_VAE,
  'ladder_vae': vae.LADDER_VAE,
  'fsq': fsq.FSQ,
  'hyperprior': hyperprior.HYPERPRIOR,
  'unet': unet.UNET,
  'unet_translator': translators.UNET_TRANSLATOR,
  'resnet_translator': translators.RESNET_TRANSLATOR,
  'edsr': superres.EDSR,
  'stylizer': stylizer.STYLIZER,
  'cnn': classifiers.SMALL_CNN,
  'resnet20': classifiers.RESNET20,
  'wrn16_4': classifiers.WRN16_4,
}
