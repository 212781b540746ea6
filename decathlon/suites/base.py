"""What a benchmark is: a value that says all that the rest of the program does not know.

A suite is found through the entry-point group ``decathlon.suites``
(:mod:`decathlon.suites.registry`). Data, networks, runs and scores ask it for their domains,
views, sizes and score, and name none themselves. ``docs/your-suite.md`` shows a suite of one's own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from decathlon.common.errors import check_known
from decathlon.suites.score import Score

SPLITS = ("train", "val", "test")
"""The splits of every domain; one may be absent."""
DEFAULT = "default"
"""In settings by domain, the value for all domains not named; no domain has this name."""
Group = Literal["large", "medium", "small"]
"""Size class of a domain's training set, by which recipes choose the weight decay."""
Crop = Literal["image", "box"]
"""What images are cut from: the whole image, or its bounding box."""
Channels = tuple[float, float, float]
"""One value per channel, in [0, 1]."""


@dataclass(frozen=True)
class View:
    """How an image is cut to the network's input.

    Attributes:
        crop: Side of the square crop in pixels, or None for the whole image.
        random: A random position instead of the centre.
        flip: A horizontal flip with probability 1/2.
        scale: For a random resized crop, the range of the share of the image's area that it
            takes, with an aspect ratio of 3/4 to 4/3; it is resized to the crop's side. None for
            a crop of pixels as they are stored.
        box: The image's bounding box (without one, the whole image), squeezed to the crop's
            side.
    """

    crop: int | None
    random: bool = False
    flip: bool = False
    scale: tuple[float, float] | None = None
    box: bool = False

    def __post_init__(self) -> None:
        assert self.crop is not None or not (self.scale or self.box), "resized to which side?"
        assert not (self.scale and self.box), "cut to which of the two?"


@dataclass(frozen=True)
class Views:
    """How a domain's images are cut.

    Attributes:
        train: While training.
        test: In evaluation.
    """

    train: View
    test: View

    @classmethod
    def of(cls, train: View) -> "Views":
        """Returns views that cut the same size in evaluation, at the centre and unflipped."""
        return cls(train, View(train.crop))


@dataclass(frozen=True)
class Archive:
    """One official archive.

    Attributes:
        file: Official file name.
        url: Where it is published.
        size: Size in bytes; 0 where no source gives it.
        sha256: Digest; empty where no source gives it.
        text: What it holds.
        domains: The domains whose images it holds (none for annotations).
        note: What a user has to know to get it; empty where it is free to download.
    """

    file: str
    url: str
    size: int
    sha256: str
    text: str
    domains: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Domain:
    """One domain of a suite.

    Attributes:
        name: Its name, in paths and on the command line.
        column: Column heading in the suite's table.
        text: What the images are.
        num_classes: Number of classes.
        sizes: Number of images in the official (train, val, test); if the suite holds out a part
            of train as val, the second is 0.
        mean: Per channel, in [0, 1].
        std: Per channel, in [0, 1].
        views: How images are cut.
        box_views: The same with ``--crop box``; None for a domain without bounding boxes.
        reader: Function that finds its images among the user's archives and folders, as
            ``module:function``, see :class:`decathlon.data.sources.readers.Reader`. Empty for
            a domain of the suite's annotations.
        bibtex: BibTeX entries of what to cite for its images; empty if there are none.
        group: Size class of the training set.
        labels_sha256: Digest of the official test labels, see
            :attr:`decathlon.data.sources.test_labels.Labels.digest`; empty if there are none.
        drawing: What the demo draws for it (a module of ``decathlon.demo.pictures``).
        narrow: Column heading in narrow tables, as wide as ``12.3``; by default, ``column``.
    """

    name: str
    column: str
    text: str
    num_classes: int
    sizes: tuple[int, int, int]
    mean: Channels
    std: Channels
    views: Views
    group: Group = "medium"
    labels_sha256: str = ""
    drawing: str = ""
    narrow: str = ""
    box_views: Views | None = None
    reader: str = ""
    bibtex: str = ""


@dataclass(frozen=True)
class Release:
    """What the published code of a method does on a suite, where it differs from the paper.

    Attributes:
        views: How images are cut, by domain.
        weight_decay: By domain.
    """

    views: Mapping[str, Views]
    weight_decay: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """One benchmark.

    Attributes:
        name: Registered name.
        title: Name in sentences and headings.
        text: What it is, in a line.
        domains: The domains by name, in the order of the table's columns.
        side: Short side of stored images in pixels.
        views: How images of a domain are cut that the suite does not list, such as a user's own.
        trained_on: Splits trained on, by the split that is reported.
        network: The network that the paper uses, for tables.
        source: The domain that source networks are trained on; None where they are imported.
        score: The suite's score; None where accuracy and its mean are all there is.
        table: ``table`` of the published rows that a board shows by default.
        annotations: The archive of the annotations in the decathlon's layout; None for a suite
            whose images come from folders.
        archives: The archives of the images in that layout.
        photographs: The domain that can be made from the original ILSVRC-2012 photographs.
        releases: Published codes by the name of their method; its ``released`` protocol follows
            them.
        submission: Whether results are submitted in the official format of the challenge.
        val_note: What a reader has to know of results on val.
        held_out: Share of the training images of each class that val holds, if the official sets
            have no val that everyone uses; fixed by the images' names. 0 for official vals.
        normalisation: (mean, std) of all domains: those that imported source networks were
            trained with. None if each domain has its own.
        recipes: By protocol, the values of recipe fields that replace the methods' own. A suite
            that gives any offers these protocols alone: the ``released`` ones of methods are for
            another benchmark.
        bibtex: BibTeX entries of what to cite for the benchmark; empty if there are none.
    """

    name: str
    title: str
    text: str
    domains: Mapping[str, Domain]
    side: int
    views: Views
    trained_on: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"val": ("train",), "test": ("train", "val")}
    )
    network: str = ""
    source: str | None = None
    score: Score | None = None
    table: str = ""
    annotations: Archive | None = None
    archives: tuple[Archive, ...] = ()
    photographs: str | None = None
    releases: Mapping[str, Release] = field(default_factory=dict)
    submission: bool = False
    val_note: str = ""
    held_out: float = 0.0
    normalisation: tuple[Channels, Channels] | None = None
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bibtex: str = ""

    def views_of(self, domain: str, crop: Crop = "image") -> Views:
        """Returns how the images of any domain are cut, the user's own included.

        Args:
            domain: Its name.
            crop: ``box`` to cut to bounding boxes, in domains that have them.
        """
        if domain not in self.domains:
            return self.views
        known = self.domains[domain]
        return known.box_views or known.views if crop == "box" else known.views

    def check(self, domain: str) -> None:
        """Checks that a domain is one of the suite's.

        Raises:
            UsageError: It is not; the nearest is suggested.
        """
        check_known("domain", domain, self.domains)

    @property
    def official(self) -> tuple[Archive, ...]:
        """All official archives: annotations, then images."""
        return (*([self.annotations] if self.annotations else []), *self.archives)

    def targets(self) -> tuple[str, ...]:
        """Returns the domains that networks are adapted to: all but the source."""
        return tuple(name for name in self.domains if name != self.source)

    def in_order(self, domains: Iterable[str]) -> list[str]:
        """Returns domains in the order of the table's columns, others sorted after them."""
        given = set(domains)
        return [*(d for d in self.domains if d in given), *sorted(given - self.domains.keys())]

    def column_of(self, domain: str) -> str:
        """Returns the column heading of any domain: its name where the suite does not list it."""
        return self.domains[domain].column if domain in self.domains else domain
