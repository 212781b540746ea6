"""A trial's network on image files."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import torch

from decathlon.common.errors import DataError
from decathlon.common.text import printable_name
from decathlon.data.image import ImageError, recognised
from decathlon.data.reading.application import Application
from decathlon.data.reading.store import open_store
from decathlon.data.shard import UNKNOWN
from decathlon.data.sources.folder_scan import SUFFIXES, is_litter
from decathlon.data.sources.image_folder import read_regular
from decathlon.method.base import Batch
from decathlon.method.stored import Trained
from decathlon.models.noise import noise_key
from decathlon.results.records import RECORD, read_record
from decathlon.training.device import Compute
from decathlon.training.evaluation import evaluating
from decathlon.training.feed import statistics_of, task_of


@dataclass(frozen=True)
class Prediction:
    """What a network makes of an image file.

    Attributes:
        file: The file, as the user named it, or its folder.
        probabilities: Of all classes, the sum is 1.
        routing: Whether each routed block took the tuned path (1) or the frozen one (0); None if
            the network has none.
    """

    file: Path
    probabilities: Sequence[float]
    routing: Sequence[int] | None


def applied(trained: Trained, data: Path | None) -> Application:
    """Returns how a network is applied to images.

    Args:
        trained: The network.
        data: Prepared data whose class names and views are taken; None for those of its file.

    Raises:
        DataError: Its file does not say it and no data is named, or the data does not fit.
    """
    if data is not None:
        return _from_data(trained, data)
    if trained.application is None:
        raise DataError(
            f"{trained.path}: is of an earlier version, which did not write down class names and"
            " the size of images; name the prepared data that it was trained on with --data, or"
            " run the trial again with --force"
        )
    return trained.application


def _from_data(trained: Trained, data: Path) -> Application:
    store, task = open_store(data), trained.task
    domain = task.domain if task is not None else store.suite.source
    if domain not in store.domains:
        raise DataError(
            f"{data}: has no domain '{domain}', which {trained.path} is of (it has"
            f" {', '.join(store.domains)}); name the data that it was trained on"
        )
    info = store.domains[domain]
    if info.num_classes != trained.num_classes:
        raise DataError(
            f"{data}: {domain} has {info.num_classes} classes there, the network of {trained.path}"
            f" has {trained.num_classes}; name the data that it was trained on"
        )
    record = trained.path.with_name(RECORD)
    crop = read_record(record).crop if record.is_file() else "image"
    here = task_of(store, domain, (), crop=crop)
    view = trained.method.view(
        replace(here, num_images=task.num_images if task else 0), training=False
    )
    seen = statistics_of(store, domain, trained.architecture.family.input)
    return Application.of(store, domain, view, seen.mean, seen.std)


def image_files(given: Iterable[Path], broken: Callable[[str], None]) -> list[Path]:
    """Lists image files, and those in folders and their folders, sorted.

    As in preparing, hidden files and what systems leave behind are passed over.

    Args:
        given: Files, which may be anything, and folders.
        broken: Called with a message for each folder without images.
    """
    files: list[Path] = []
    for path in given:
        if not path.is_dir():
            files.append(path)
        elif found := sorted(_inside(path), key=os.fsencode):
            files += found
        else:
            broken(f"{path}: holds no image files; name image files, or a folder with some")
    return files


def _inside(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if is_litter(path.relative_to(folder).as_posix()) or path.is_dir():
            continue
        if path.name.lower().endswith(SUFFIXES) or (path.is_file() and recognised(path)):
            yield path


def predict(
    trained: Trained,
    application: Application,
    files: Sequence[Path],
    compute: Compute,
    broken: Callable[[str], None],
) -> Iterator[Prediction]:
    """Classifies image files, one at a time, so that no prediction depends on other files.

    Where a method draws decisions by an image's id, the image's pixels take its place.

    Args:
        trained: The network.
        application: See :func:`applied`.
        files: The files.
        compute: Device and precision.
        broken: Called with a message for each file that cannot be used, which is left out.

    Yields:
        Predictions, in the order of the files.

    Raises:
        DataError: The network's logits are not finite.
    """
    fabric = compute.fabric(trained.network)
    domain = trained.task.domain if trained.task else ""
    key = noise_key(0, domain, "noise", "evaluation")
    with evaluating(trained.network, fabric):
        for file in files:
            try:
                image = _read(file, application)
            except ImageError as error:
                broken(f"{printable_name(os.fsencode(file))}: {error}; replace it or leave it out")
                continue
            number = int.from_bytes(sha256(image.numpy().tobytes()).digest()[:7])
            images = image[None].to(fabric.device)
            ids = torch.tensor([number], device=fabric.device)
            labels = torch.full_like(ids, UNKNOWN)
            batch = Batch(images, labels, ids, key, 1.0, domain)
            logits, routing = trained.method.predict(trained.network, batch)
            if not logits.isfinite().all():
                raise DataError(
                    f"{trained.path}: gives logits that are NaN or infinite for {file}; use"
                    " --precision 32, or another network"
                )
            shares = torch.softmax(logits[0].cpu().double(), dim=0).tolist()
            yield Prediction(file, shares, None if routing is None else routing[0].int().tolist())


def _read(file: Path, application: Application) -> torch.Tensor:
    """Reads an image file as a network's input.

    Raises:
        ImageError: It is missing or damaged.
    """
    data = read_regular(os.fsencode(file))
    if data is None:
        raise ImageError("there is no such file")
    try:
        return application.read(data)
    except MemoryError:
        raise ImageError("there is not enough memory for its pixels") from None
