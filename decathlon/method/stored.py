"""Trained networks on disk: what :meth:`Method.stored` lists, and nothing else.

Saving, loading, ``load_model`` and #par all come from that one list. Tensors that are
shared with the source, and those that jointly trained domains share, are kept once, in
``RESULTS/sources/<sha256>.safetensors``.
"""

import json
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import nn

from decathlon.common.errors import DataError
from decathlon.common.files import replacing, sha256
from decathlon.common.strict import Sha256
from decathlon.data.reading.application import Application
from decathlon.method.base import Method, Task
from decathlon.method.code import code_of, identity, shown
from decathlon.method.recipe import from_json
from decathlon.method.registry import find, probes, registered
from decathlon.models.networks import Architecture
from decathlon.models.tensor_names import RUNNING
from decathlon.models.tied import distinct
from decathlon.models.weights import (
    Source,
    bits_of,
    check_fit,
    counts,
    naming,
    read_header,
    read_source,
    read_weights,
    write_weights,
)
from decathlon.results.records import WEIGHTS, Code, Parameters

SOURCES = "sources"
TASK = ("domain", "num_classes", "num_images")
"""What a file says of a task."""
MAX_CLASSES = 1_000_000
"""No file describes a larger head unless it is damaged."""


class _Kept(BaseModel):
    """The header that :func:`save_kept` writes."""

    model_config = ConfigDict(strict=True)

    source: Sha256
    application: Application | None = None


class _Trained(BaseModel):
    """The header that :func:`save_trained` writes; older files name no code and no application."""

    model_config = ConfigDict(strict=True)

    method: str
    recipe: dict[str, Any]
    tasks: Annotated[list[Task], Field(min_length=1)]
    architecture: dict[str, Any]
    source_classes: Annotated[int, Field(ge=1, le=MAX_CLASSES)]
    source: Sha256 | None
    trunk: Sha256 | None = None
    code: Code | None = None
    application: Application | None = None

    @field_validator("tasks")
    @classmethod
    def _have_classes(cls, tasks: list[Task]) -> list[Task]:
        for task in tasks:
            if not 1 <= task.num_classes <= MAX_CLASSES:
                raise ValueError(f"{task.domain} has {task.num_classes} classes")
        return tasks


@dataclass(frozen=True)
class Trained:
    """A trial's network, and what its file says of it.

    Attributes:
        path: The file.
        network: The network, in evaluation mode.
        method: How it predicts; the base class for a source network as it is.
        task: What it was trained on; None for a source network as it is.
        architecture: Of its source.
        num_classes: Of its head.
        application: Its classes, and how an image becomes its input; None in older files.
    """

    path: Path
    network: nn.Module
    method: Method
    task: Task | None
    architecture: Architecture
    num_classes: int
    application: Application | None


def keep_source(source: Source, results: Path) -> None:
    """Copies the source weights into the results folder, unless they are there.

    Raises:
        DataError: The file is no longer the one that was read.
    """
    if source.path is None:
        return
    target = results / SOURCES / f"{source.sha256}.safetensors"
    if not target.exists() or sha256(target) != source.sha256:
        with replacing(target) as part:
            shutil.copyfile(source.path, part)
            if sha256(part) != source.sha256:
                raise DataError(
                    f"{source.path}: was changed after it had been read; run the same command again"
                )


def keep_trunk(results: Path, method: Method, network: nn.Module, source: Source) -> str | None:
    """Writes the tensors that jointly trained domains share into the results folder.

    Args:
        results: RESULTS.
        method: What trained the network; its list of stored tensors decides.
        network: The final network of any one of the domains.
        source: What it was built from.

    Returns:
        The file's digest, which is its name; None where there are no such tensors.
    """
    tensors = {s.name: s.tensor for s in method.stored(network) if s.place == "trunk"}
    if not tensors:
        return None
    header = {"kind": "trunk", "method": method_name(method), "recipe": method.recipe.as_json()}
    header["architecture"] = source.architecture.as_json()
    passing = results / SOURCES / f".{os.uname().nodename}.{os.getpid()}.safetensors"
    try:
        write_weights(passing, header, tensors)
        digest = sha256(passing)
        passing.replace(results / SOURCES / f"{digest}.safetensors")
    finally:
        passing.unlink(missing_ok=True)
    return digest


def save_trained(
    path: Path,
    method: Method,
    network: nn.Module,
    source: Source,
    tasks: Sequence[Task],
    trunk: str | None = None,
    code: Code | None = None,
    application: Application | None = None,
) -> None:
    """Writes the tensors of a trained network that are not kept elsewhere.

    Args:
        path: The file to write.
        method: What trained it; its list of stored tensors decides.
        network: The final network.
        source: What it was built from.
        tasks: The domain it is for.
        trunk: What :func:`keep_trunk` returned.
        code: Code of the method, where it is registered.
        application: How it is applied to images.
    """
    listed = method.stored(network)
    shares = any(tensor.place == "shared" for tensor in listed)
    header = {
        "kind": "method",
        "method": method_name(method),
        "recipe": method.recipe.as_json(),
        "tasks": [{key: getattr(task, key) for key in TASK} for task in tasks],
        "architecture": source.architecture.as_json(),
        "source_classes": source.num_classes,
        "source": source.sha256 if shares else None,
        "trunk": trunk,
        "code": None if code is None else code.model_dump(),
        **_applied(application),
    }
    own = {s.name: s.tensor for s in listed if s.place in ("domain", "head")}
    write_weights(path, header, own)


def save_kept(path: Path, source: Source, application: Application | None = None) -> None:
    """Writes weights that say: the source network as it is."""
    header = {"kind": "kept", "source": source.sha256, **_applied(application)}
    write_weights(path, header, {})


def _applied(application: Application | None) -> dict[str, Any]:
    """Returns what a header says of how a network is applied: nothing if it is not known."""
    if application is None:
        return {}
    return {"application": application.model_dump(mode="json", exclude_defaults=True)}


def count_parameters(method: Method, network: nn.Module, source: Source) -> Parameters:
    """Counts the bits of all stored parameters of a final network by where they are kept.

    A tensor that has several names, such as a tied weight, counts once.
    """
    listed = method.stored(network)
    bits = {"shared": 0, "trunk": 0, "domain": 0, "head": 0}
    for places in (("shared",), ("trunk",), ("domain", "head")):  # what is written together
        together = {s.name: s for s in listed if s.place in places}
        for name in distinct({name: s.tensor for name, s in together.items()}):
            own = together[name].place in ("domain", "head") and not name.endswith(RUNNING)
            if own or counts(name):
                bits[together[name].place] += bits_of(together[name].tensor)
    trunk = bits.pop("trunk")
    bits["shared"] += trunk
    unit = source.unit_bits(method.recipe.unit_width)
    return Parameters(source=source.count_bits() + trunk, unit=unit, **bits)


def method_name(method: Method) -> str:
    """Returns the name a method was registered under, or its class's name."""
    target = f"{type(method).__module__}:{type(method).__qualname__}"
    names = [name for name, point in (registered() | probes()).items() if point.value == target]
    return names[0] if names else type(method).__qualname__


def load_model(path: Path | str, source: Path | str | None = None) -> nn.Module:
    """Loads imported or trained weights as a network.

    Warns if the method's code is no longer the code that trained the weights.

    Args:
        path: A source network, imported weights, or a trial's ``weights.safetensors``.
        source: The source weights that a trained network shares tensors with; by
            default they are looked for in the ``sources`` folder of its results.

    Returns:
        The network in evaluation mode; ``model(images)`` maps N x 3 x H x W, float, to logits, N x
        classes. Images are normalised by the domain's mean and std, or by those of the network's
        family where it has an ``input``. ``.train()`` gives training behaviour.

        The network of a trial has two attributes more: ``model.transform`` turns an image of
        Pillow's into a tensor, 3 x H x W, cut and normalised as in the trial's evaluation, and
        ``model.classes`` is a tuple with the name of each class. Both are None in other networks,
        and in files of earlier versions, which do not say them.

    Raises:
        DataError: A file is missing, damaged, or does not fit.
    """
    path = Path(path)
    kind, application = read_header(path)["kind"], None
    if kind == "source":
        network: nn.Module = read_source(path).network().eval()
    elif kind == "imported":
        network = _load_imported(path)
    else:
        trained = open_trained(path, source)
        network, application = trained.network, trained.application
    classes = None if application is None else application.classes
    # Not by assignment, which a module takes for tensors and modules alone as far as types go.
    vars(network).update(transform=application, classes=classes)
    return network


def open_trained(path: Path, source: Path | str | None = None) -> Trained:
    """Loads a trial's network with what its file says of it; see :func:`load_model`.

    Raises:
        DataError: A file is missing, damaged, or does not fit; or it holds something else.
    """
    header = read_header(path)
    given = Path(source) if source is not None else None
    if header["kind"] == "kept":
        with naming(path):
            kept = _Kept.model_validate_json(json.dumps(header))
        base = read_source(_kept(path, kept.source, given))
        _check_classes(path, kept.application, base.num_classes)
        return Trained(
            path, base.network().eval(), Method(), None, base.architecture, base.num_classes,
            kept.application,
        )  # fmt: skip
    if header["kind"] != "method":
        whose = {"source": "a source network", "imported": "an imported network"}
        what = whose.get(header["kind"], f"a {header['kind']}")
        raise DataError(f"{path}: holds {what}, not that of a trial; name a trial's {WEIGHTS}")
    with naming(path):
        said = _Trained.model_validate_json(json.dumps(header))
        kind = find(said.method)
        method = kind(from_json(kind.recipes, said.recipe, f"method '{said.method}'"))
        architecture = Architecture.from_json(said.architecture)
    if said.code is not None and identity(said.code) != identity(now := code_of(said.method)):
        warnings.warn(
            f"{path}: was made by other code of method '{said.method}'"
            f" ({shown(said.code)}, here {shown(now)}); the network may compute something else",
            stacklevel=3,
        )
    task = said.tasks[0]
    _check_classes(path, said.application, task.num_classes)
    return Trained(
        path, load_trained(path, kind, given).eval(), method, task, architecture,
        task.num_classes, said.application,
    )  # fmt: skip


def _check_classes(path: Path, application: Application | None, num_classes: int) -> None:
    if application is not None and len(application.classes) != num_classes:
        raise DataError(
            f"{path}: its header is damaged: it names {len(application.classes)} classes, and the"
            f" network has {num_classes}; run the trial again with --force"
        )


def load_trained(path: Path, kind: type[Method], given: Path | None = None) -> nn.Module:
    """Loads trained weights of a method, registered or not.

    Args:
        path: What :func:`save_trained` wrote.
        kind: The method.
        given: The source weights, see :func:`load_model`.

    Raises:
        DataError: A file is missing, damaged, or does not fit.
    """
    header, tensors = read_weights(path)
    with naming(path):
        said = _Trained.model_validate_json(json.dumps(header))
        recipe = from_json(kind.recipes, said.recipe, f"method '{said.method}'")
        architecture = Architecture.from_json(said.architecture)
    base = Source(architecture, said.source_classes)
    if said.source is not None:
        base = read_source(_kept(path, said.source, given))
    if said.trunk is not None:
        tensors |= read_weights(_kept(path, said.trunk, None))[1]
    method = kind(recipe)
    with torch.random.fork_rng(devices=[]):
        network = method.part(method.build(base, said.tasks), said.tasks[0].domain)
    try:
        return method.restore(network, tensors)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _load_imported(path: Path) -> nn.Module:
    """Loads an imported network of a method that has no source file to share tensors with."""
    header, tensors = read_weights(path)
    with naming(path, "; import it again"):
        kind = find(str(header["method"]))
        with torch.device("meta"):  # nothing is drawn: the file's tensors become the network's
            network = kind.imported(header)
    check_fit(path, network.state_dict(), tensors)
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _kept(path: Path, digest: str, given: Path | None) -> Path:
    """Returns the file of a digest: the given one, or that in a folder of sources."""
    if given is None:
        places = [parent / SOURCES / f"{digest}.safetensors" for parent in path.resolve().parents]
        given = next((place for place in places if place.is_file()), None)
    if given is None:
        raise DataError(
            f"{path}: rests on weights {digest[:12]}..., which are not in a '{SOURCES}' folder"
            " above it; put them there, or name a source: load_model(path, source=...)"
        )
    if sha256(given) != digest:
        raise DataError(
            f"{given}: is not the source of {path} (its digest is not {digest[:12]}...)"
        )
    return given
