"""The Visual Decathlon: ten image domains at 72 pixels, one score.

Sources: split sizes and classes are those of the official annotations; means and standard
deviations are the values distributed with the residual-adapters code (srebuffi/residual_adapters,
``decathlon_mean_std.pickle``), rounded. Its loader applies them to the files as they are:
omniglot's mean is that of white strokes on black, and no image is inverted. The crop policy is
that code's ``imdbfolder_coco.py``, lines 115-143; the views of SpotTune's released code are those
of gyhui14/spottune, ``imdbfolder.py``, lines 108-148; the grouping by size is that of a public fork
of the residual-adapters code, as the SpotTune paper gives no values; the baseline accuracies are
the fine-tuning row that defines E_max (google/multi-task-architecture-search, ``util/calc.py``,
lines 60-80, and the "Finetune" row of MTAN, arXiv 1803.10704, Table 4).
"""

import math
from collections.abc import Mapping

from decathlon.suites.base import Archive, Domain, Release, Suite, View, Views
from decathlon.suites.papers import (
    BILEN_2016,
    CIMPOI_2014,
    KRIZHEVSKY_2009,
    LAKE_2015,
    MAJI_2013,
    MUNDER_2006,
    NETZER_2011,
    NILSBACK_2008,
    REBUFFI_2017,
    RUSSAKOVSKY_2015,
    SOOMRO_2012,
    STALLKAMP_2012,
)
from decathlon.suites.score import Score, domain_points

SIDE = 72
"""Short side of all images in pixels."""
SOURCE = "imagenet12"
"""The domain that source networks are trained on."""
AUGMENTED = Views.of(View(64, random=True, flip=True))
"""Natural images: RandomCrop 64 and a horizontal flip."""
UPRIGHT = Views.of(View(SIDE))
"""Glyphs, digits and signs, whose position and handedness matter."""


# fmt: off
_TABLE = (
    Domain("imagenet12", "ImNet", "objects and scenes", 1000, (1232167, 49000, 48238),
           (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), AUGMENTED, "large",
           "3ca76457f1c4fde266e8e30b02b90bb77b989311615f441078f7be4f61c13ddd", "objects", "INet",
           bibtex=RUSSAKOVSKY_2015),
    Domain("aircraft", "Airc.", "aircraft variants", 100, (3334, 3333, 3333),
           (0.48, 0.511, 0.534), (0.211, 0.205, 0.237), AUGMENTED, "small",
           "11b29f1b2ce0cace0f4454ead744c009678685594d8eb40527b40e17b3b160d3", "aircraft", "Airc",
           bibtex=MAJI_2013),
    Domain("cifar100", "C100", "small objects", 100, (40000, 10000, 10000),
           (0.507, 0.487, 0.441), (0.268, 0.257, 0.276), AUGMENTED, "large",
           "2fb15ee11f05ba21706a5abb6ccc9f3d27a7166418e8347df6ffd886dc3ad1e4", "small",
           bibtex=KRIZHEVSKY_2009),
    Domain("daimlerpedcls", "DPed", "pedestrians or none", 2, (23520, 5880, 19600),
           (0.482, 0.482, 0.482), (0.236, 0.236, 0.236), AUGMENTED, "medium",
           "9bf225121d4c345137d57dc0fe03af5093afc9b61907770441f9bbed6d8127f2", "pedestrians",
           bibtex=MUNDER_2006),
    Domain("dtd", "DTD", "describable textures", 47, (1880, 1880, 1880),
           (0.527, 0.47, 0.424), (0.252, 0.241, 0.25), AUGMENTED, "small",
           "c6f3b19e078789e7379507a75fd43a01bbc6e51ee5ec5cca7ab5f7b69225f3ed", "textures",
           bibtex=CIMPOI_2014),
    Domain("gtsrb", "GTSR", "German traffic signs", 43, (31367, 7842, 12630),
           (0.339, 0.312, 0.321), (0.276, 0.266, 0.271), UPRIGHT, "large",
           "518c9dc9a6fef62b2d89ed44a350beb4ffe265bd96e08371c77bd32fdd217865", "signs",
           bibtex=STALLKAMP_2012),
    Domain("vgg-flowers", "Flwr", "flowers", 102, (1020, 1020, 6149),
           (0.434, 0.383, 0.297), (0.285, 0.238, 0.264), AUGMENTED, "small",
           "e364ae59886dc6a93e4487bc9dd5bf84327613daf3ca7e4286c818ea6cc96d77", "flowers",
           bibtex=NILSBACK_2008),
    Domain("omniglot", "OGlt", "handwritten characters", 1623, (17853, 6492, 8115),
           (0.081, 0.081, 0.081), (0.2705, 0.2705, 0.2705), UPRIGHT, "medium",
           "cb73c1762eed0fd12d606fbcab2c72d0590e900a87451eff95ee6254089ad0c4", "glyphs",
           bibtex=LAKE_2015),
    Domain("svhn", "SVHN", "house numbers", 10, (47217, 26040, 26032),
           (0.438, 0.444, 0.473), (0.198, 0.201, 0.197), UPRIGHT, "large",
           "6770c4ac873384124ab2d1e72b434326b7945d17dadaa0081ad806849afea1d1", "digits",
           bibtex=NETZER_2011),
    Domain("ucf101", "UCF", "dynamic images of actions", 101, (7585, 1952, 3783),
           (0.4995, 0.4988, 0.4998), (0.109, 0.108, 0.107), AUGMENTED, "medium",
           "55082184baa6b9d7a9b540bb7d9cde074eda1ca17a0f694f7438977840f34977", "motion",
           bibtex=SOOMRO_2012 + BILEN_2016),
)
# fmt: on
DOMAINS = {domain.name: domain for domain in _TABLE}
"""The domains by name, in the column order of the SpotTune paper's Table 3.

``labels_sha256`` is the digest of the ids and categories in ``labels_test.zip`` as published with
srebuffi/residual_adapters, so that the same labels in a folder, packed again or written in another
order are recognised.
"""

# fmt: off
BASELINE = {
    "imagenet12": 59.87, "aircraft": 60.34, "cifar100": 82.12, "daimlerpedcls": 92.82, "dtd": 55.53,
    "gtsrb": 97.53, "vgg-flowers": 81.41, "omniglot": 87.69, "svhn": 96.55, "ucf101": 51.20,
}
# fmt: on
"""Accuracy in percent of the fine-tuning baseline."""

SCORE = Score("S", {name: 2 * (100 - percent) / 100 for name, percent in BASELINE.items()})


def decathlon_score(errors: Mapping[str, float], e_max: Mapping[str, float] | None = None) -> float:
    """Computes the decathlon score S, in [0, 10000] for ten domains.

    A domain that is not given counts 0. Scores are comparable only between equal
    sets of domains with equal E_max.

    Args:
        errors: Error in [0, 1] by domain, e.g. ``{"dtd": 0.4287}``.
        e_max: E_max by domain, each above 0; the official values by default.

    Raises:
        UsageError: A domain without an E_max, or an error that is not in [0, 1]. It
            is a ``ValueError`` too.

    Example:
        >>> round(decathlon_score({"dtd": 0.0, "svhn": 0.0345}), 6)
        1250.0
    """
    return math.fsum(domain_points(errors, SCORE.e_max if e_max is None else e_max).values())


# Digests as recorded by TensorFlow Datasets (``checksums.tsv`` of
# ``visual_domain_decathlon``, commit 17dbb3ae).
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
    tuple(name for name in DOMAINS if name != SOURCE),
)
IMAGENET = Archive(
    "decathlon-1.0-data-imagenet.tar",
    "http://www.image-net.org/image/decathlon/decathlon-1.0-data-imagenet.tar",
    6_535_075_840,
    "93caac18a907266f917136849c1db7bbf88dd595120af1a8eea7177138962e4a",
    "images of imagenet12",
    (SOURCE,),
    "needs an account at image-net.org",
)

SPOTTUNE = Release(
    views={
        name: Views(View(domain.views.train.crop, domain.views.train.random), View(SIDE))
        for name, domain in DOMAINS.items()
    }
    | {"daimlerpedcls": Views.of(View(None))},
    weight_decay=dict.fromkeys(("cifar100", "dtd", "gtsrb", "svhn"), 0.0)
    | dict.fromkeys(("aircraft", "daimlerpedcls", "omniglot", "ucf101"), 5e-4),
)
"""gyhui14/spottune: no flips and 72-pixel test crops (``imdbfolder.py``, 108-148), and the
decay of ``main.py``, lines 43-53."""
DAN = Release(dict.fromkeys(("gtsrb", "omniglot", "svhn"), Views.of(View(64, random=True))))
"""rosenfeldamir/incremental_learning: crops of 64 pixels of these too (cells 3 and 122)."""

SUITE = Suite(
    name="visual-decathlon",
    title="Visual Decathlon",
    text="ten image domains at 72 pixels, the published methods, one score",
    domains=DOMAINS,
    side=SIDE,
    views=AUGMENTED,
    network="resnet26",
    source=SOURCE,
    score=SCORE,
    table="SpotTune Table 3",
    annotations=DEVKIT,
    archives=(NINE, IMAGENET),
    photographs=SOURCE,
    submission=True,
    val_note="the official validation sets are not representative of the test sets (gtsrb and"
    " ucf101 above all); these scores compare with no published one.",
    releases={"spottune": SPOTTUNE, "dan": DAN},
    bibtex=REBUFFI_2017,
)
