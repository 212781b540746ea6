"""Accuracy over the number of training images: what subsets of the training images show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from decathlon.common.errors import ResultError
from decathlon.common.files import digest_of
from decathlon.results.published import PublishedRow
from decathlon.results.records import RunRecord
from decathlon.scoring import intervals, setups
from decathlon.scoring.entries import Entry, sources_of
from decathlon.scoring.figures import style
from decathlon.scoring.rounding import Pair
from decathlon.scoring.setups import Setup
from decathlon.suites.base import SPLITS, Suite
from decathlon.suites.subset import Subset

GREY = "0.45"
SMALL, LARGE = (1.75, 1.6), (4.2, 3.0)
"""Width and height in inches of one of several panels, and of the only one."""


@dataclass(frozen=True)
class Point:
    """One accuracy of one method on one domain.

    Attributes:
        images: Number of training images.
        accuracy: In percent, the mean over repetitions.
        ci: Its 95 % interval; None for a published one.
        each: The accuracy of each repetition.
    """

    images: int
    accuracy: float
    ci: Pair | None = None
    each: tuple[float, ...] = ()


@dataclass
class Line:
    """The points of one method, by domain."""

    label: str
    points: dict[str, list[Point]] = field(default_factory=dict)
    published: bool = False

    def add(self, domain: str, point: Point) -> None:
        """Adds a point, and keeps the points in the order of their images."""
        own = self.points.setdefault(domain, [])
        own.append(point)
        own.sort(key=lambda other: other.images)


def num_images(record: RunRecord, suite: Suite) -> int | None:
    """Returns the number of images that a record's network was trained on, or None.

    Records of earlier versions do not say it. For official data it follows from the suite.
    """
    if record.num_trained is not None or not record.trained_on:
        return record.num_trained
    if not record.official or record.domain not in suite.domains:
        return None
    return _official(record.domain, record.subset, suite, record.trained_on.split("+"))


def _official(domain: str, subset: str, suite: Suite, splits: Iterable[str]) -> int | None:
    """Returns the number of images of a subset of official splits, or None where it is unknown.

    The split that the suite holds out is part of its training images.
    """
    known = suite.domains[domain]
    total = sum(known.sizes[SPLITS.index(split)] for split in splits)
    if suite.held_out and "val" not in splits:
        return None
    if not subset:
        return total
    taken = Subset.named(subset)
    if taken.shots:
        return min(total, taken.shots * known.num_classes)
    return round((taken.fraction or 0) * total)


def lines_of(entries: Sequence[Entry], suite: Suite) -> list[Line]:
    """Returns a line for each name, or for each setup of a name that has several per subset."""
    by_name: dict[str, list[Entry]] = {}
    for entry in entries:
        by_name.setdefault(entry.name, []).append(entry)
    found: dict[str, Line] = {}
    for name, own in by_name.items():
        sizes = [entry.setup.subset for entry in own]
        several = len(set(sizes)) < len(sizes)
        labels = _by_setup(name, own, sources_of(entries)) if several else [name] * len(own)
        for label, entry in zip(labels, own, strict=True):
            _add(found.setdefault(label, Line(label)), entry, suite)
    return [line for line in found.values() if line.points]


def _by_setup(name: str, entries: Sequence[Entry], sources: Sequence[str]) -> list[str]:
    """Returns a label for each entry of a name, the same where only the subset differs."""
    alike: dict[str, Setup] = {}
    keys = []
    for entry in entries:
        whole = replace(entry.setup, subset="")
        key = digest_of([[*fact, value] for fact, value in whole.facts.items()])
        alike.setdefault(key, whole)
        keys.append(key)
    labels = setups.row_labels(name, list(alike.values()), sources)
    return [dict(zip(alike, labels, strict=True))[key] for key in keys]


def published_lines(rows: Sequence[PublishedRow], suite: Suite) -> list[Line]:
    """Returns a line for each published label that has subsets, all images included."""
    labels = dict.fromkeys(row.label for row in rows if row.subset)
    found = {label: Line(label, published=True) for label in labels}
    for row in (row for row in rows if row.label in found):
        for domain in (d for d, percent in row.accuracy.items() if percent is not None):
            images = _official(domain, row.subset, suite, suite.trained_on["test"])
            percent = row.accuracy[domain]
            if images and percent is not None:
                found[row.label].add(domain, Point(images, percent))
    lines = list(found.values())
    for line in lines:  # one point is no line
        line.points = {name: own for name, own in line.points.items() if len(own) > 1}
    return [line for line in lines if line.points]


def _add(line: Line, entry: Entry, suite: Suite) -> None:
    drawn = intervals.draw([entry], {})[0].accuracy if entry.counted else {}
    for domain, accuracy in drawn.items():
        records = [own[domain] for own in entry.counted.values()]
        images = {num_images(record, suite) for record in records if record.trained}
        counts = [count for count in images if count]
        if counts:
            each = tuple(record.accuracy for record in records if record.accuracy is not None)
            mean = sum(each) / len(each)
            images_mean = round(sum(counts) / len(counts))
            line.add(domain, Point(images_mean, mean, intervals.interval(accuracy), each))


def data(lines: Sequence[Line], suite: Suite) -> Figure:
    """Draws accuracy over the number of training images, a panel per domain.

    A method's points are means over seeds and draws with 95 % intervals; each seed and draw is a
    dot beside them. Published points are hollow.

    Args:
        lines: The methods; published ones are shown in domains that others have.
        suite: The suite.

    Raises:
        ResultError: No method has two numbers of training images on a domain.
    """
    own = [line for line in lines if not line.published]
    domains = suite.in_order({name for line in own for name in line.points})
    if not any(len(points) > 1 for line in own for points in line.points.values()):
        raise ResultError(
            "no method has results for several numbers of training images on a domain: run some"
            " with --shots K or --fraction F"
        )
    width, height = SMALL if len(domains) > 1 else LARGE
    drawn, panels = style.panels(domains, suite, width, height, across=3)
    handles: dict[str, Line2D] = {}
    with style.styled():
        for domain, axes in panels.items():
            for place, line in enumerate(lines):
                if points := line.points.get(domain):
                    name = f"{line.label}, published" if line.published else line.label
                    handles[name] = _draw(axes, points, place, line.published)
            axes.set_xscale("log")
            _set_ticks(axes, [p.images for line in lines for p in line.points.get(domain, [])])
            style.set_ticks(axes.yaxis, 4)
            axes.grid(axis="y", linewidth=0.3, color="0.85")
            axes.set_axisbelow(True)
        drawn.supxlabel("training images", fontsize=8)
        drawn.supylabel("accuracy (%)", fontsize=8)
        style.legend(drawn, list(handles.values()), list(handles))
    return drawn


def _draw(axes: Axes, points: Sequence[Point], place: int, published: bool) -> Line2D:
    look = style.look(place)
    ink = GREY if published else look.ink
    for point in points:
        if point.ci:
            axes.plot([point.images] * 2, point.ci, color=ink, linewidth=0.9)
        if len(point.each) > 1:
            axes.plot([point.images] * len(point.each), point.each, ".", color=ink, markersize=2)
    return axes.plot(
        [point.images for point in points],
        [point.accuracy for point in points],
        color=ink,
        linestyle=look.line,
        linewidth=0.8 if published else 1.2,
        marker=look.marker,
        markersize=3,
        markerfacecolor="white" if published else ink,
    )[0]


def _set_ticks(axes: Axes, images: Sequence[int]) -> None:
    """Sets a tick at 1, 2 or 5 times a power of ten, about four in all."""
    low, high = min(images), max(images)
    steps = [k * 10**power for power in range(9) for k in (1, 2, 5)]
    within = [step for step in steps if low <= step <= high] or sorted({low, high})
    every = -(-len(within) // 4)
    shown = within[::-1][::every][::-1]
    axes.set_xlim(low / 1.3, high * 1.3)
    axes.set_xticks(shown, [f"{step:,}" for step in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
