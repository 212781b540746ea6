"""Stanford Cars in both forms: torchvision's, and all images in one folder.

* ``cars_train.tgz``, ``cars_test.tgz`` and ``car_devkit.tgz``, or the folders that they unpack to
  (``cars_train/``, ``cars_test/``, ``devkit/``, in ``stanford_cars/`` too, and nested as some
  packers leave them), and ``cars_test_annos_withlabels.mat``. Without that file the test images
  are prepared without labels; a later call with it fills them in.
* ``car_ims.tgz`` or ``car_ims/``, and ``cars_annos.mat``.

Boxes are the first and the last pixel in both directions, counted from 1.
"""

from pathlib import Path
from typing import Any

from decathlon.common.errors import DataError
from decathlon.data.boxes import Box
from decathlon.data.manifest import SourceEntry
from decathlon.data.sources.annotations import UNKNOWN
from decathlon.data.sources.class_folders import prepared_folders
from decathlon.data.sources.file_names import last_part
from decathlon.data.sources.image_folder import FolderSupply, in_lower_case
from decathlon.data.sources.matlab import MOST_BYTES, number, parse, read_matlab, records
from decathlon.data.sources.readers import Offer, Place, Sample, plan_of
from decathlon.data.sources.supply import PHOTOGRAPHS, Supply

TRAIN, TEST, DEVKIT = "cars_train", "cars_test", "car_devkit.tgz"
META, TRAIN_LIST, TEST_LIST = "cars_meta.mat", "cars_train_annos.mat", "cars_test_annos.mat"
LABELLED = "cars_test_annos_withlabels.mat"
ALL, ALL_LIST = "car_ims", "cars_annos.mat"
_ROOTS = ("stanford_cars",)
_KITS = tuple(f"{root}{kit}" for root in ("", "stanford_cars/") for kit in (
    "devkit", "car_devkit", "car_devkit/devkit"))  # fmt: skip

Lists = dict[str, dict[str, Any]]
"""Variables of the MATLAB files, by the file's name."""


def read(place: Place) -> Offer | None:
    """Finds the images; see :class:`decathlon.data.sources.readers.Reader`."""
    halves = {name: _images(place, name) for name in (TRAIN, TEST)}
    kit = place.find(DEVKIT, *_ROOTS) or place.find(TRAIN_LIST, *_KITS, *_ROOTS)
    if kit is not None and all(halves.values()):
        return _halves(place, kit, [supply for supply in halves.values() if supply])
    together, list_ = _images(place, ALL), place.find(ALL_LIST, *_ROOTS, *_KITS, ALL)
    if together is not None and list_ is not None:
        return _together(place, together, list_)
    if folders := prepared_folders(place, crops=["stanford_cars_cropped"]):
        return folders
    if together is not None:
        raise place.missing(ALL_LIST)
    if list_ is not None and kit is None and not any(halves.values()):
        raise place.missing(f"{ALL}.tgz")
    lacking = [f"{name}.tgz" for name, supply in halves.items() if supply is None]
    lacking += [DEVKIT] * (kit is None)
    labels = place.find(LABELLED, *_ROOTS, *_KITS)
    if len(lacking) == 3 and labels is None:
        return None
    raise place.missing(*lacking, *[LABELLED] * (labels is None))


def _images(place: Place, name: str) -> Supply | None:
    """Returns where images are; they are called ``<name>/<file>``, in lower case."""
    archive, folder = place.find(f"{name}.tgz", *_ROOTS), place.find(name, *_ROOTS)
    if archive is not None:
        return place.tar(archive, lambda member: f"{name}/{last_part(member).lower()}")
    if folder is None or not folder.is_dir():
        return None
    while (folder / name).is_dir():
        folder = folder / name
    return FolderSupply(folder, name, PHOTOGRAPHS, path_of=in_lower_case(folder, f"{name}/"))


def _halves(place: Place, kit: Path, supplies: list[Supply]) -> Offer:
    lists, entries = _devkit(place, kit)
    labels = place.find(LABELLED, *_ROOTS, *_KITS)
    if labels is not None:
        lists[TEST_LIST] = read_matlab(labels)
        entries.append(place.entry(labels))
    lacking = [name for name in (META, TRAIN_LIST, TEST_LIST) if name not in lists]
    if lacking:
        raise DataError(f"{kit}: lacks {', '.join(lacking)}; fetch {DEVKIT} again")
    train = _samples(kit, lists[TRAIN_LIST], TRAIN, "fname", 1)
    test = _samples(labels or kit, lists[TEST_LIST], TEST, "fname", len(train) + 1)
    messages = []
    if any(sample.category == UNKNOWN for sample in test):
        messages.append(
            f"{place.domain}: {LABELLED} is not there: its test images are prepared without"
            " labels, and accuracies on them stay unknown. Put the file beside the others and run"
            " the same command again"
        )
    plan = plan_of(place, str(kit), {"train": train, "test": test}, _classes(kit, lists[META]))
    return Offer(plan, supplies, entries, messages)


def _devkit(place: Place, kit: Path) -> tuple[Lists, list[SourceEntry]]:
    """Reads the lists of the devkit, an archive or the folder of its files."""
    names = (META, TRAIN_LIST, TEST_LIST)
    if kit.suffix != ".mat":
        archive = place.tar(kit, str)
        found = archive.contents(names, MOST_BYTES, early=False)
        lists = {name: parse(data, f"{kit}: {name}") for name, data in found.items()}
        return lists, [archive.source()]
    paths = [kit.parent / name for name in names if (kit.parent / name).is_file()]
    return {path.name: read_matlab(path) for path in paths}, [place.entry(p) for p in paths]


def _together(place: Place, supply: Supply, list_: Path) -> Offer:
    variables = read_matlab(list_)
    samples = _samples(list_, variables, ALL, "relative_im_path", 1)
    tested = [bool(number(record, "test", list_)) for record in records(variables, list_)]
    splits = {
        split: [s for s, test in zip(samples, tested, strict=True) if test == (split == "test")]
        for split in ("train", "test")
    }
    plan = plan_of(place, str(list_), splits, _classes(list_, variables))
    return Offer(plan, [supply], [place.entry(list_)])


def _classes(where: Path, variables: dict[str, Any]) -> dict[int, str]:
    names = variables.get("class_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: has no class_names; fetch it again")
    return dict(enumerate(names, start=1))


def _samples(
    where: Path, variables: dict[str, Any], folder: str, field: str, first: int
) -> list[Sample]:
    samples = []
    for image_id, record in enumerate(records(variables, where), start=first):
        file = record.get(field)
        if not isinstance(file, str) or not file:
            raise DataError(f"{where}: image {image_id} has no {field}; fetch it again")
        left, top, right, bottom = (
            number(record, f"bbox_{side}", where) for side in ("x1", "y1", "x2", "y2")
        )
        box = Box(left - 1, top - 1, right - left + 1, bottom - top + 1)
        category = int(number(record, "class", where)) if "class" in record else UNKNOWN
        file = last_part(file.replace("\\", "/")).lower()
        samples.append(Sample(f"{folder}/{file}", category, image_id, box))
    return samples
