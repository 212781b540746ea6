"""Five fine-grained sets at 256 pixels: the benchmark of Piggyback and of SpotTune's Table 2.

Split sizes and classes: the SpotTune paper, Table 1 (section 4.1); the sets are Piggyback's. The
common recipe is ours, as the paper gives none: that of Transfer-Learning-Library's fine-tuning
baseline (thuml/Transfer-Learning-Library @c4aa59e, ``erm.py``, ``erm.sh``). Views: the same, and
for bounding boxes those of arunmallya/piggyback @5a6094c, ``dataset.py``, lines 72-102. Protocol
``piggyback``: that code's ``run_baselines.sh`` and ``main.py``.
"""

from decathlon.suites.base import Archive, Domain, Suite, View, Views
from decathlon.suites.papers import (
    EITZ_2012,
    GUO_2019,
    KRAUSE_2013,
    NILSBACK_2008,
    SALEH_2015,
    WAH_2011,
)

SIDE = 256
"""Short side of stored images in pixels."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, which the torchvision networks were trained with."""
WHOLE = Views(View(224, random=True, flip=True, scale=(0.2, 1.0)), View(224))
"""RandomResizedCrop 224 and a horizontal flip; in testing the centre 224 pixels."""
BOX = Views(View(224, flip=True, box=True), View(224, box=True))
"""The bounding box squeezed to 224 x 224, and a horizontal flip."""
READERS = "decathlon.data.sources"


def _domain(
    name: str,
    column: str,
    text: str,
    num_classes: int,
    sizes: tuple[int, int],
    reader: str,
    bibtex: str,
    boxes: Views | None = None,
    narrow: str = "",
) -> Domain:
    train, test = sizes
    where = f"{READERS}.{reader}:read"
    return Domain(
        name, column, text, num_classes, (train, 0, test), MEAN, STD, WHOLE, "medium", "",
        narrow=narrow, box_views=boxes, reader=where, bibtex=bibtex,
    )  # fmt: skip


# fmt: off
_TABLE = (
    _domain("cubs", "CUBS", "birds", 200, (5994, 5794), "cub", WAH_2011, BOX),
    _domain("stanford-cars", "Stanford Cars", "cars", 196, (8144, 8041), "stanford_cars",
            KRAUSE_2013, BOX, "Cars"),
    _domain("flowers", "Flowers", "flowers", 102, (2040, 6149), "oxford_flowers", NILSBACK_2008),
    _domain("wikiart", "WikiArt", "paintings by artist", 195, (42129, 10628), "wikiart",
            SALEH_2015),
    _domain("sketches", "Sketches", "drawings of objects", 250, (16000, 4000), "tu_berlin",
            EITZ_2012),
)
# fmt: on
DOMAINS = {domain.name: domain for domain in _TABLE}
"""The domains by name, in the column order of the SpotTune paper's Table 2."""

_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
_NO_HOST = (
    "no longer hosted by its authors; copies: Kaggle rickyyyyyyy/torchvision-stanford-cars (all"
    " files), jessicali9530/stanford-cars-dataset (no labels)"
)
# Sizes and digests: tensorflow/datasets, url_checksums (caltech_birds2011.txt, cars196.txt,
# oxford_flowers102.txt). No public source gives those of the last two.
# fmt: off
ARCHIVES = (
    Archive("CUB_200_2011.tgz",
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz", 1_150_585_339,
            "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
            "images and annotations of cubs", ("cubs",)),
    Archive("cars_train.tgz", "", 979_269_282,
            "512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
            "training images of stanford-cars", ("stanford-cars",), _NO_HOST),
    Archive("cars_test.tgz", "", 977_350_468,
            "bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
            "test images of stanford-cars", ("stanford-cars",), _NO_HOST),
    Archive("car_devkit.tgz",
            "https://github.com/pytorch/vision/files/11644847/car_devkit.tgz", 330_960,
            "b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
            "labels and boxes of stanford-cars", ("stanford-cars",)),
    Archive("cars_test_annos_withlabels.mat", "", 185_758,
            "790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
            "test labels of stanford-cars", ("stanford-cars",), _NO_HOST),
    Archive("102flowers.tgz", f"{_OXFORD}102flowers.tgz", 344_862_509,
            "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
            "images of flowers", ("flowers",)),
    Archive("imagelabels.mat", f"{_OXFORD}imagelabels.mat", 502,
            "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
            "labels of flowers", ("flowers",)),
    Archive("setid.mat", f"{_OXFORD}setid.mat", 14_989,
            "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
            "splits of flowers", ("flowers",)),
    Archive("wikiart.zip", "https://github.com/cs-chan/ArtGAN/tree/master/WikiArt%20Dataset", 0,
            "", "images of wikiart", ("wikiart",),
            "25 GB, for non-commercial research; the page has the link"),
    Archive("sketches_png.zip",
            "http://cybertron.cg.tu-berlin.de/eitz/projects/classifysketch/sketches_png.zip", 0,
            "", "images of sketches", ("sketches",)),
)
# fmt: on

SUITE = Suite(
    name="fine-grained",
    title="Fine-grained sets",
    text="five fine-grained sets at full resolution, ResNet-50, accuracy and its mean",
    domains=DOMAINS,
    side=SIDE,
    views=WHOLE,
    network="resnet50",
    table="SpotTune Table 2",
    archives=ARCHIVES,
    held_out=0.1,
    normalisation=(MEAN, STD),
    recipes={
        "paper": {
            "epochs": None,
            "steps": 10_000,
            "batch_size": 48,
            "lr": 0.001,
            "head_lr": 0.01,
            "nesterov": True,
            "milestones": (0.6,),
            "weight_decay": {"default": 5e-4},
        },
        "piggyback": {
            "epochs": 30,
            "steps": None,
            "batch_size": 32,
            "lr": 0.001,
            "head_lr": None,
            "nesterov": False,
            "milestones": (0.5,),
            "weight_decay": {"default": 0.0},
        },
    },
    bibtex=GUO_2019,
)
