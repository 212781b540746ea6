"""Oxford Flowers 102: ``102flowers.tgz``, ``imagelabels.mat`` and ``setid.mat``.

The archive may be unpacked to ``jpg/``, and all may lie in ``flowers-102/``, as torchvision has it.
Networks are trained on the official train and val together (``trnid`` and ``valid``), which are
smaller than test; some copies exchange train and test and are refused.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from decathlon.common.errors import DataError
from decathlon.data.shard import Int64
from decathlon.data.sources.class_folders import prepared_folders
from decathlon.data.sources.file_names import last_part
from decathlon.data.sources.image_folder import FolderSupply, in_lower_case
from decathlon.data.sources.matlab import read_matlab
from decathlon.data.sources.readers import Offer, Place, Sample, plan_of
from decathlon.data.sources.supply import PHOTOGRAPHS, Supply

ARCHIVE, LABELS, SETS = "102flowers.tgz", "imagelabels.mat", "setid.mat"
_TREE = "flowers-102"


def read(place: Place) -> Offer | None:
    """Finds the images; see :class:`decathlon.data.sources.readers.Reader`."""
    supply = _images(place)
    labels, sets = place.find(LABELS, _TREE), place.find(SETS, _TREE)
    there = {ARCHIVE: supply, LABELS: labels, SETS: sets}
    if supply is None or labels is None or sets is None:
        if folders := prepared_folders(place):
            return folders
        if any(there.values()):
            raise place.missing(*(name for name, found in there.items() if found is None))
        return None
    numbers = _vector(read_matlab(labels), "labels", labels)
    found = read_matlab(sets)
    train, val, test = (_vector(found, name, sets) for name in ("trnid", "valid", "tstid"))
    _check(place, sets, train, val, test, len(numbers))
    splits = {
        split: [
            Sample(f"image_{image:05d}.jpg", numbers.item(image - 1), image)
            for image in sorted(ids.tolist())
        ]
        for split, ids in (("train", np.concatenate([train, val])), ("test", test))
    }
    plan = plan_of(place, str(sets), splits, _names(np.unique(numbers)))
    return Offer(plan, [supply], [place.entry(labels), place.entry(sets)])


def _images(place: Place) -> Supply | None:
    archive = place.find(ARCHIVE, _TREE)
    if archive is not None:
        return place.tar(archive, lambda member: last_part(member).lower())
    folder = place.find("jpg", _TREE, "102flowers", f"{_TREE}/102flowers")
    if folder is None or not folder.is_dir():
        return None
    while (folder / "jpg").is_dir():
        folder = folder / "jpg"
    return FolderSupply(folder, "jpg", PHOTOGRAPHS, path_of=in_lower_case(folder))


def _vector(variables: dict[str, Any], name: str, where: Path) -> Int64:
    found = variables.get(name)
    if not isinstance(found, np.ndarray) or found.size == 0 or (found != np.rint(found)).any():
        raise DataError(f"{where}: has no whole numbers '{name}'; fetch it again")
    numbers: Int64 = found.ravel(order="F").astype(np.int64)
    if numbers.min() < 1:
        raise DataError(f"{where}: '{name}' holds {numbers.min()}, but counts from 1")
    return numbers


def _check(place: Place, where: Path, train: Int64, val: Int64, test: Int64, count: int) -> None:
    """Checks that the sets are of these images, disjoint, and not exchanged.

    Raises:
        DataError: They are not.
    """
    together = np.concatenate([train, val, test])
    if together.max() > count:
        raise DataError(
            f"{where}: names image {together.max()}, but {LABELS} has {count} labels; fetch both"
            " again"
        )
    if len(np.unique(together)) < len(together):
        raise DataError(f"{where}: an image is in two sets, or twice in one; fetch it again")
    if len(train) > len(test):
        official = place.suite.domains[place.domain].sizes
        raise DataError(
            f"{where}: train (trnid) has {len(train):,} images and test (tstid) {len(test):,}."
            f" Official are {sum(official[:2]):,} of train and val together and {official[2]:,} of"
            " test: in this copy they are exchanged. Fetch the official file; or if your own set"
            f" is like that, give it with --folder {place.domain}=DIR"
        )


def _names(labels: Int64) -> dict[int, str]:
    """Returns the classes' names, which no file has, if there are as many as official ones."""
    text = files(__package__).joinpath("flower_names.txt").read_text(encoding="utf-8")
    known = text.split("\n")[:-1]
    if labels.tolist() == list(range(1, len(known) + 1)):
        return dict(enumerate(known, start=1))
    return {label: f"class {label}" for label in labels.tolist()}
