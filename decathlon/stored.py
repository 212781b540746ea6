"""Trained networks on disk: what :meth:`Method.stored` lists, and nothing else.

Saving, loading, ``load_model`` and #par all come from that one list. Tensors that are
shared with the source are kept once, in ``RESULTS/sources/<sha256>.safetensors``.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from decathlon.errors import DataError
from decathlon.files import replacing, sha256
from decathlon.method import Method, Task, find
from decathlon.models.resnet import Architecture
from decathlon.models.weights import (
    Source,
    bits_of,
    counts,
    read_source,
    read_weights,
    write_weights,
)
from decathlon.recipes import apply
from decathlon.records import Parameters

SOURCES = "sources"


def keep_source(source: Source, results: Path) -> None:
    """Copies the source weights into the results folder, unless they are there."""
    if source.path is None:
        return
    target = results / SOURCES / f"{source.sha256}.safetensors"
    if not target.exists():
        with replacing(target) as part:
            shutil.copyfile(source.path, part)


def save_trained(
    path: Path, method: Method, network: nn.Module, source: Source, tasks: Sequence[Task]
) -> None:
    """Writes the tensors of a trained network that are not the source's.

    Args:
        path: The file to write.
        method: What trained it; its list of stored tensors decides.
        network: The final network.
        source: What it was built from.
        tasks: The domain(s) it was built for.
    """
    listed = method.stored(network)
    shares = any(tensor.place == "shared" for tensor in listed)
    header = {
        "kind": "method",
        "method": method_name(method),
        "recipe": method.recipe.as_json(),
        "tasks": [asdict(task) for task in tasks],
        "architecture": source.architecture.as_json(),
        "source_classes": source.num_classes,
        "source": source.sha256 if shares else None,
    }
    own = {s.name: s.tensor for s in listed if s.place != "shared"}
    write_weights(path, header, own)


def save_kept(path: Path, source: Source) -> None:
    """Writes weights that say: the source network as it is."""
    write_weights(path, {"kind": "kept", "source": source.sha256}, {})


def count_parameters(method: Method, network: nn.Module, source: Source) -> Parameters:
    """Counts the bits of all stored parameters of a final network by where they are kept."""
    bits = {"shared": 0, "domain": 0, "head": 0}
    for stored in method.stored(network):
        if stored.place == "head" or counts(stored.name):
            bits[stored.place] += bits_of(stored.tensor)
    return Parameters(source=source.count_bits(), unit=source.unit_bits(), **bits)


def method_name(method: Method) -> str:
    """Returns the name a method was registered under, or its class's name."""
    from decathlon.method import registered

    target = f"{type(method).__module__}:{type(method).__qualname__}"
    names = [name for name, point in registered().items() if point.value == target]
    return names[0] if names else type(method).__qualname__


def load_model(path: Path | str, source: Path | str | None = None) -> nn.Module:
    """Loads imported or trained weights as a network.

    Args:
        path: A source network, imported weights, or a trial's ``weights.safetensors``.
        source: The source weights that a trained network shares tensors with; by
            default they are looked for in the ``sources`` folder of its results.

    Returns:
        The network in evaluation mode; ``model(images)`` maps N x 3 x H x W, float,
        normalised, to logits, N x classes. ``.train()`` gives training behaviour.

    Raises:
        DataError: A file is missing, damaged, or does not fit.
    """
    path = Path(path)
    header, tensors = read_weights(path)
    if header["kind"] == "source":
        return read_source(path).network().eval()
    base = _source_of(path, header, Path(source) if source is not None else None)
    if header["kind"] == "kept":
        return base.network().eval()
    kind = find(header["method"])
    recipe = apply(kind.recipes, header["recipe"], f"method '{header['method']}'")
    method = kind(recipe)
    with torch.random.fork_rng(devices=[]):
        network = method.build(base, [Task(**task) for task in header["tasks"]])
    return method.restore(network, tensors).eval()


def _source_of(path: Path, header: dict[str, Any], given: Path | None) -> Source:
    digest = header["source"]
    if digest is None:
        architecture = Architecture.from_json(header["architecture"])
        return Source(architecture, int(header["source_classes"]))
    if given is None:
        places = [parent / SOURCES / f"{digest}.safetensors" for parent in path.resolve().parents]
        given = next((place for place in places if place.is_file()), None)
    if given is None:
        raise DataError(
            f"{path}: rests on source weights {digest[:12]}..., which are not in a"
            f" '{SOURCES}' folder above it; name them: load_model(path, source=...)"
        )
    if sha256(given) != digest:
        raise DataError(
            f"{given}: is not the source of {path} (its digest is not {digest[:12]}...)"
        )
    return read_source(given)
