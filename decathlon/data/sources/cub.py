"""CUB-200-2011: ``CUB_200_2011.tgz``, or the tree that it unpacks to.

Lists are text files beside the folder ``images``: each line an image's number and a value. Boxes
are left, top, width and height in pixels.
"""

from collections.abc import Iterator
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.data.boxes import Box
from decathlon.data.manifest import SourceEntry
from decathlon.data.sources.class_folders import prepared_folders
from decathlon.data.sources.file_names import last_two
from decathlon.data.sources.image_folder import FolderSupply, digest_over, in_lower_case
from decathlon.data.sources.plan import DomainPlan
from decathlon.data.sources.readers import Offer, Place, Sample, plan_of
from decathlon.data.sources.streaming import reading
from decathlon.data.sources.supply import PHOTOGRAPHS, Supply

ARCHIVE, TREE = "CUB_200_2011.tgz", "CUB_200_2011"
IMAGES, LABELS, SPLITS, CLASSES = LISTS = (
    "images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt",
)  # fmt: skip
BOXES = "bounding_boxes.txt"
_MOST = 32 << 20
"""Bytes of a list; the longest official one takes 1 MB."""


def read(place: Place) -> Offer | None:
    """Finds the images; see :class:`decathlon.data.sources.readers.Reader`."""
    archive = place.find(ARCHIVE)
    listed = place.find(IMAGES, TREE, f"{TREE}/{TREE}")
    if archive is not None:
        lists = place.tar(archive, str).contents([*LISTS, BOXES], _MOST, early=True)
        return _offer(place, archive, lists, place.tar(archive, _key), [])
    if listed is None:
        return prepared_folders(place, crops=["cubs_cropped"])
    root = listed.parent
    lists = {name: _content(root / name) for name in (*LISTS, BOXES) if (root / name).is_file()}
    images = root / "images"
    supply = FolderSupply(images, f"{TREE}/images", PHOTOGRAPHS, path_of=in_lower_case(images))
    parts = [(name, place.entry(root / name)) for name in lists]
    entry = SourceEntry(
        file=TREE,
        size=sum(part.size for _, part in parts),
        sha256=digest_over([(name, part.sha256) for name, part in parts]),
        official=False,
    )
    return _offer(place, root, lists, supply, [entry])


def _offer(
    place: Place, where: Path, lists: dict[str, bytes], supply: Supply, entries: list[SourceEntry]
) -> Offer:
    lacking = [name for name in LISTS if name not in lists]
    if lacking:
        raise DataError(f"{where}: lacks {', '.join(lacking)}; fetch {ARCHIVE} again")
    messages = []
    if BOXES not in lists:
        messages.append(f"{place.domain}: {where} lacks {BOXES}: prepared without boxes")
    return Offer(_plan(place, where, lists), [supply], entries, messages)


def _plan(place: Place, where: Path, lists: dict[str, bytes]) -> DomainPlan:
    names = dict(_rows(where, IMAGES, lists))
    labels = dict(_numbers(where, LABELS, lists, 1))
    trained = dict(_numbers(where, SPLITS, lists, 1))
    boxes = dict(_numbers(where, BOXES, lists, 4)) if BOXES in lists else None
    class_names = {number: _text(name) for number, name in _rows(where, CLASSES, lists)}
    samples: dict[str, list[Sample]] = {"train": [], "test": []}
    for number, name in names.items():
        for list_, found in ((LABELS, labels), (SPLITS, trained), (BOXES, boxes)):
            if found is not None and number not in found:
                raise DataError(f"{where}: {list_} lacks image {number}; fetch {ARCHIVE} again")
        sample = Sample(
            _key(name),
            int(labels[number][0]),
            number,
            Box(*boxes[number]) if boxes is not None else None,
        )
        samples["train" if trained[number][0] else "test"].append(sample)
    return plan_of(place, str(where), samples, class_names)


def _key(name: str) -> str:
    """Returns what an image is called: ``<class>/<file>`` in lower case."""
    return last_two(name.replace("\\", "/")).lower()


def _rows(where: Path, name: str, lists: dict[str, bytes]) -> Iterator[tuple[int, str]]:
    """Yields number and value of each line of a list, each number once."""
    seen: set[int] = set()
    for line in lists[name].decode("utf-8-sig", "surrogateescape").splitlines():
        number, value = [*line.split(maxsplit=1), "", ""][:2]
        value = value.rstrip()
        if not number:
            continue
        if not (number.isascii() and number.isdigit() and len(number) < 10 and value):
            raise DataError(f"{where}: {name} has the line {line[:80]!r}; fetch {ARCHIVE} again")
        if int(number) in seen:
            raise DataError(f"{where}: {name} has {number} twice; fetch {ARCHIVE} again")
        seen.add(int(number))
        yield int(number), value


def _text(name: str) -> str:
    """Returns a class's name, which is Latin-1 if it is no UTF-8."""
    data = name.encode(errors="surrogateescape")
    try:
        return data.decode()
    except UnicodeError:
        return data.decode("latin-1")


def _numbers(
    where: Path, name: str, lists: dict[str, bytes], count: int
) -> Iterator[tuple[int, list[float]]]:
    for number, text in _rows(where, name, lists):
        try:
            values = [float(value) for value in text.split()]
        except ValueError:
            values = []
        if len(values) != count:
            raise DataError(
                f"{where}: {name} has {text[:80]!r} for {number}; fetch {ARCHIVE} again"
            )
        yield number, values


def _content(path: Path) -> bytes:
    with reading(path) as file:
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise DataError(f"{path}: has more than {_MOST} bytes; fetch {ARCHIVE} again")
    return content
