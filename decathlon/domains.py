"""The ten official domains as data.

Sources: split sizes and classes are those of the official annotations; means and
standard deviations are the values distributed with the residual-adapters code
(srebuffi/residual_adapters, ``decathlon_mean_std.pickle``); the crop policy is
that code's ``imdbfolder_coco.py``, lines 115-143; the baseline accuracies are the
fine-tuning row that defines E_max (google/multi-task-architecture-search,
``util/calc.py``, lines 60-83, and the "Finetune" row of MTAN, arXiv 1803.10704,
Table 4).
"""

from dataclasses import dataclass

from decathlon.errors import UsageError, nearest

SPLITS = ("train", "val", "test")
SOURCE_DOMAIN = "imagenet12"


@dataclass(frozen=True)
class View:
    """How an image is cut to the network's input.

    Attributes:
        crop: Side of the square crop in pixels, or None for the whole image.
        random: A random position instead of the centre.
        flip: A horizontal flip with probability 1/2.
    """

    crop: int | None
    random: bool = False
    flip: bool = False


AUGMENTED = View(64, random=True, flip=True)
"""Training view of natural images: RandomCrop 64 and a horizontal flip."""
UPRIGHT = View(72)
"""View of glyphs, digits and signs, whose position and handedness matter."""


@dataclass(frozen=True)
class Domain:
    """One official domain.

    Attributes:
        name: Name in the official annotations.
        column: Column heading in Table 3 of the SpotTune paper.
        text: What the images are.
        num_classes: Number of classes.
        sizes: Number of images in (train, val, test).
        mean: Per channel, in [0, 1].
        std: Per channel, in [0, 1].
        train_view: Crop and flip while training.
        baseline: Accuracy in percent of the fine-tuning baseline.
    """

    name: str
    column: str
    text: str
    num_classes: int
    sizes: tuple[int, int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    train_view: View
    baseline: float

    @property
    def e_max(self) -> float:
        """Error in [0, 1] from which a domain scores nothing: twice the baseline's."""
        return 2 * (100 - self.baseline) / 100


def _grey(mean: float, std: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    return (mean,) * 3, (std,) * 3


DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        Domain(
            "imagenet12",
            "ImNet",
            "objects and scenes",
            1000,
            (1232167, 49000, 48238),
            (0.485, 0.456, 0.406),
            (0.229, 0.224, 0.225),
            AUGMENTED,
            59.87,
        ),
        Domain(
            "aircraft",
            "Airc.",
            "aircraft variants",
            100,
            (3334, 3333, 3333),
            (0.480, 0.511, 0.534),
            (0.211, 0.205, 0.237),
            AUGMENTED,
            60.34,
        ),
        Domain(
            "cifar100",
            "C100",
            "small objects",
            100,
            (40000, 10000, 10000),
            (0.507, 0.487, 0.441),
            (0.268, 0.257, 0.276),
            AUGMENTED,
            82.12,
        ),
        Domain(
            "daimlerpedcls",
            "DPed",
            "pedestrians or none",
            2,
            (23520, 5880, 19600),
            *_grey(0.482, 0.236),
            AUGMENTED,
            92.82,
        ),
        Domain(
            "dtd",
            "DTD",
            "describable textures",
            47,
            (1880, 1880, 1880),
            (0.527, 0.470, 0.424),
            (0.252, 0.241, 0.250),
            AUGMENTED,
            55.53,
        ),
        Domain(
            "gtsrb",
            "GTSR",
            "German traffic signs",
            43,
            (31367, 7842, 12630),
            (0.339, 0.312, 0.321),
            (0.276, 0.266, 0.271),
            UPRIGHT,
            97.53,
        ),
        Domain(
            "vgg-flowers",
            "Flwr",
            "flowers",
            102,
            (1020, 1020, 6149),
            (0.434, 0.383, 0.297),
            (0.285, 0.238, 0.264),
            AUGMENTED,
            81.41,
        ),
        Domain(
            "omniglot",
            "OGlt",
            "handwritten characters",
            1623,
            (17853, 6492, 8115),
            *_grey(0.081, 0.2705),
            UPRIGHT,
            87.69,
        ),
        Domain(
            "svhn",
            "SVHN",
            "house numbers",
            10,
            (47217, 26040, 26032),
            (0.438, 0.444, 0.473),
            (0.198, 0.201, 0.197),
            UPRIGHT,
            96.55,
        ),
        Domain(
            "ucf101",
            "UCF",
            "dynamic images of actions",
            101,
            (7585, 1952, 3783),
            (0.4995, 0.4988, 0.4998),
            (0.109, 0.108, 0.107),
            AUGMENTED,
            51.20,
        ),
    )
}
"""The domains by name, in the column order of the SpotTune paper's Table 3."""


def domain_of(name: str) -> Domain:
    """Returns an official domain.

    Raises:
        UsageError: There is none of that name; the nearest is suggested.
    """
    if name not in DOMAINS:
        raise UsageError(
            f"unknown domain '{name}'{nearest(name, DOMAINS)} (known: {', '.join(DOMAINS)})"
        )
    return DOMAINS[name]


def train_view(name: str) -> View:
    """Returns the training view of any domain; one that is not official is augmented."""
    return DOMAINS[name].train_view if name in DOMAINS else AUGMENTED


@dataclass(frozen=True)
class Archive:
    """One official archive.

    Attributes:
        file: Official file name.
        url: Where it is published.
        size: Size in bytes.
        sha256: Digest as recorded by TensorFlow Datasets (``checksums.tsv`` of
            ``visual_domain_decathlon``, commit 17dbb3ae).
        text: What it holds.
        domains: The domains whose images it holds (none for the annotations).
        note: What a user has to know to get it.
    """

    file: str
    url: str
    size: int
    sha256: str
    text: str
    domains: tuple[str, ...] = ()
    note: str = ""


DEVKIT = Archive(
    "decathlon-1.0-devkit.tar.gz",
    "http://www.robots.ox.ac.uk/~vgg/share/decathlon-1.0-devkit.tar.gz",
    23_503_205,
    "f86d9e128678434ff2a3a374f00eb3e2ec2267e15e53ddae5f19ff19378b5ff7",
    "annotations of all ten domains",
)
NINE = Archive(
    "decathlon-1.0-data.tar.gz",
    "http://www.robots.ox.ac.uk/~vgg/share/decathlon-1.0-data.tar.gz",
    406_351_554,
    "8eca928bda025d855c91a78db45b3b18bc322efd7b1462a041e62c27b3c83c25",
    "images of nine domains",
    tuple(name for name in DOMAINS if name != SOURCE_DOMAIN),
)
IMAGENET = Archive(
    "decathlon-1.0-data-imagenet.tar",
    "http://www.image-net.org/image/decathlon/decathlon-1.0-data-imagenet.tar",
    6_535_075_840,
    "93caac18a907266f917136849c1db7bbf88dd595120af1a8eea7177138962e4a",
    "images of imagenet12",
    (SOURCE_DOMAIN,),
    "needs an account at image-net.org",
)
ARCHIVES = (DEVKIT, NINE, IMAGENET)
"""The three official archives."""

OFFICIAL_LABELS = {
    "imagenet12": "3ca76457f1c4fde266e8e30b02b90bb77b989311615f441078f7be4f61c13ddd",
    "aircraft": "11b29f1b2ce0cace0f4454ead744c009678685594d8eb40527b40e17b3b160d3",
    "cifar100": "2fb15ee11f05ba21706a5abb6ccc9f3d27a7166418e8347df6ffd886dc3ad1e4",
    "daimlerpedcls": "9bf225121d4c345137d57dc0fe03af5093afc9b61907770441f9bbed6d8127f2",
    "dtd": "c6f3b19e078789e7379507a75fd43a01bbc6e51ee5ec5cca7ab5f7b69225f3ed",
    "gtsrb": "518c9dc9a6fef62b2d89ed44a350beb4ffe265bd96e08371c77bd32fdd217865",
    "vgg-flowers": "e364ae59886dc6a93e4487bc9dd5bf84327613daf3ca7e4286c818ea6cc96d77",
    "omniglot": "cb73c1762eed0fd12d606fbcab2c72d0590e900a87451eff95ee6254089ad0c4",
    "svhn": "6770c4ac873384124ab2d1e72b434326b7945d17dadaa0081ad806849afea1d1",
    "ucf101": "55082184baa6b9d7a9b540bb7d9cde074eda1ca17a0f694f7438977840f34977",
}
"""Digest of the official test labels by domain (``decathlon.scoring.labels.Labels.digest``).

Of ``labels_test.zip`` as published with srebuffi/residual_adapters: of the ids and categories,
so that the same labels in a folder, packed again or written in another order are recognised.
"""
