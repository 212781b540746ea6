"""What the demo's ten domains look like: one file a domain, each with its drawer."""

from decathlon.demo.pictures import (
    aircraft,
    digits,
    flowers,
    glyphs,
    motion,
    objects,
    pedestrians,
    signs,
    small,
    textures,
)
from decathlon.demo.pictures.drawer import Drawer

DRAWERS: dict[str, Drawer] = {
    "imagenet12": objects.DRAWER,
    "aircraft": aircraft.DRAWER,
    "cifar100": small.DRAWER,
    "daimlerpedcls": pedestrians.DRAWER,
    "dtd": textures.DRAWER,
    "gtsrb": signs.DRAWER,
    "vgg-flowers": flowers.DRAWER,
    "omniglot": glyphs.DRAWER,
    "svhn": digits.DRAWER,
    "ucf101": motion.DRAWER,
}
"""The drawer of each official domain, in the order of the score table."""
