"""A user's own domain: a folder of photographs, with or without splits.

:mod:`decathlon.data.sources.folder_scan` lists what is in the folder, and
:mod:`decathlon.data.sources.stratified` divides a folder without splits. Classes are the
folders that hold training images, sorted; category ids count from 1 in that order, image ids from 1
through train, val and test, in the order of the names. The listing (paths and sizes of the
files) stands for the annotations. When it changes, or a file does (by its size and the time
that the system keeps of its last change), the domain is prepared again; equal images then give
equal shards.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from decathlon.common.errors import DataError, UsageError, listed, nearest
from decathlon.common.text import printable_name
from decathlon.data.sources.annotations import MOST_CLASSES, Annotations, Names
from decathlon.data.sources.folder_scan import LAYOUT, Found, FoundImage, scan, without
from decathlon.data.sources.image_folder import FolderSupply
from decathlon.data.sources.plan import DOMAIN_NAME, RESERVED, DomainPlan, domain_plan
from decathlon.data.sources.readers import Offer, Place
from decathlon.data.sources.stratified import Shares, drawn, part_of
from decathlon.data.sources.supply import PHOTOGRAPHS
from decathlon.suites.base import DEFAULT, SPLITS, Suite

MEND = "replace the file, or leave out all that are broken with --skip-broken"


def check_name(name: str, suite: Suite, others: Iterable[str] = ()) -> None:
    """Checks the name of a user's own domain.

    Args:
        name: The name.
        suite: The suite that data is prepared for. If it has annotations, its own domains come
            with them.
        others: Names of domains that are prepared, or about to be.

    Raises:
        UsageError: The suite has annotations and a domain of that name; or the name is one of the
            program's files, does not fit into file names, or differs from another by case only.
    """
    # Some file systems take names for the same that differ by case only.
    if suite.annotations is not None and name.lower() in suite.domains:
        raise UsageError(f"'{name}' is an official domain: give your own another name")
    if RESERVED.fullmatch(name):
        raise UsageError(
            f"'{name}' is a name of this program's own files (manifest.json, *.part, *.h5):"
            " give the domain another"
        )
    if name.lower() == DEFAULT:
        raise UsageError(
            f"'{name}' cannot name a domain: in recipes it stands for all domains; choose another"
        )
    if not DOMAIN_NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot name a domain: begin with a letter or digit, go on with"
            " letters, digits, '_', '-' and '.', at most 100"
        )
    for other in others:
        if name != other and name.lower() == other.lower():
            raise UsageError(
                f"'{name}' differs from the domain '{other}' by case only, which some file"
                " systems do not tell apart: give it another name"
            )


def own_domain(
    name: str,
    folder: Path,
    shares: Shares | None,
    skipped: Mapping[str, str],
    held_out: float = 0.0,
) -> Offer:
    """Lists a user's own domain; reads no image.

    Args:
        name: What the domain is called.
        folder: See :mod:`decathlon.data.sources.folder_scan`.
        shares: How a folder without splits is divided, None for the default.
        skipped: Why images are left out, by name.
        held_out: Share of train that val is made of if the folder has train and no val.

    Raises:
        DataError: The folder is missing or of another layout, or a class has no training
            images.
    """
    found, gone = without(scan(folder), skipped)
    rule = (shares or Shares()) if found.plain else None
    if rule is not None:
        found = _divided(found, rule)
    _check_classes(folder, found)
    held_out = 0.0 if rule is not None or "val" in found.images else held_out
    if held_out:
        found = _held_out(found, held_out)
    plan = replace(
        _plan(name, folder, found, rule),
        split_folders=str(rule or ""),
        skipped={printable_name(image): skipped[printable_name(image)] for image in gone},
        held_out=held_out,
    )
    supply = FolderSupply(folder, name, PHOTOGRAPHS, skipped=gone, mend=MEND)
    return Offer(plan, [supply], messages=_messages(folder, found))


def prepared_folders(place: Place, crops: Sequence[str] = ()) -> Offer | None:
    """Finds a domain as folders ``train/CLASS/IMAGE`` and ``test/CLASS/IMAGE``.

    Piggyback, PackNet and CPG publish such folders.

    Args:
        place: Holds a folder of the domain's name, or of one in ``crops``.
        crops: Folders whose images are cut to bounding boxes, and so not the official ones.
    """
    for name in (place.domain, *crops):
        folder = place.folder / name
        if not ((folder / "train").is_dir() and (folder / "test").is_dir()):
            continue
        offer = own_domain(place.domain, folder, None, {}, place.suite.held_out)
        if name not in crops:
            return offer
        told = f"{place.domain}: {folder} holds images cut to their boxes: recorded as unofficial"
        return replace(
            offer, plan=replace(offer.plan, exact=False), messages=[*offer.messages, told]
        )
    return None


def _held_out(found: Found, share: float) -> Found:
    """Makes val of a share of train."""
    parts: dict[str, dict[str, list[FoundImage]]] = {"train": {}, "val": {}}
    for name, files in found.images["train"].items():
        names = [os.fsdecode(image.name) for image in files]
        for image, out in zip(
            files, drawn([name] * len(names), names, partial(part_of, share)), strict=True
        ):
            parts["val" if out else "train"].setdefault(name, []).append(image)
    images = {**found.images, **parts}
    return replace(found, images={s: images[s] for s in SPLITS if images.get(s)})


def _divided(found: Found, shares: Shares) -> Found:
    images: dict[str, dict[str, list[FoundImage]]] = {split: {} for split in SPLITS}
    for name, files in found.images[""].items():
        by_name = {image.name: image for image in files}
        for split, part in shares.divide(list(by_name)).items():
            if part:
                images[split][name] = [by_name[image] for image in part]
    return replace(found, images={split: part for split, part in images.items() if part})


def _check_classes(folder: Path, found: Found) -> None:
    """Checks that there are training images, of every class.

    Raises:
        DataError: There are none, of one class or of all; the classes are named.
    """
    train = found.images.get("train", {})
    if "train" not in found.images and found.images:
        raise DataError(f"{folder}: has no folder train; {LAYOUT}")
    if not train:
        where = folder / "train" if "train" in found.images else folder
        raise DataError(f"{where}: holds no images; {LAYOUT}")
    for split, classes in found.images.items():
        orphans = sorted(classes.keys() - train.keys())
        if not orphans:
            continue
        named = listed([f"'{name}'{nearest(name, train)}" for name in orphans])
        raise DataError(
            f"{folder / split}: has classes without training images: {named}; add images to"
            f" {folder / 'train'}, rename the folders, or move them away"
        )
    if len(train) > MOST_CLASSES:
        raise DataError(f"{folder}: has {len(train)} classes (at most {MOST_CLASSES})")


def _plan(name: str, folder: Path, found: Found, rule: Shares | None) -> DomainPlan:
    classes = sorted(found.images["train"], key=str.encode)
    category = {text: number for number, text in enumerate(classes, start=1)}
    class_names = {number: text for text, number in category.items()}
    annotations, first = {}, 1
    for split, images in found.images.items():
        files = [image for part in images.values() for image in part]
        digest = sha256(b"".join(b"%s\0%d\n" % (image.name, image.size) for image in files))
        # Other classes in another split change the labels of this one.
        digest.update("\n".join(classes).encode())
        if rule is not None:
            digest.update(f"\n{split} of {rule}".encode())
        if found.by_table:  # otherwise the names of the files say what their classes are
            digest.update("".join(f"\n{c}" for c, part in images.items() for _ in part).encode())
        unsaid = np.zeros(len(files), np.int64)
        annotations[split] = Annotations(
            where=str(folder / split),
            names=Names.of([image.name for image in files]),
            image_ids=np.arange(first, first + len(files)),
            categories=np.array(
                [category[c] for c, part in images.items() for _ in part], np.int64
            ),
            heights=unsaid,
            widths=unsaid,
            class_names=class_names,
            sha256=digest.hexdigest(),
        )
        first += len(files)
    return domain_plan(name, annotations)


def _messages(folder: Path, found: Found) -> list[str]:
    messages = []
    if found.passed:
        messages.append(
            f"{folder}: skipped {len(found.passed):,} that are no images or classes:"
            f" {listed(found.passed)}"
        )
    if found.alike:
        messages.append(f"{folder}: taken for different classes: {listed(found.alike)}")
    return messages
