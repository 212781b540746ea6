"""Counting the parameters of a network that a file holds, for checks of strangers' results."""

import warnings
from pathlib import Path
from typing import Any

from decathlon.common.errors import DataError, first_difference
from decathlon.method.registry import find
from decathlon.method.stored import SOURCES, count_parameters, open_trained
from decathlon.models import networks
from decathlon.models.capabilities import outline
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source, read_header
from decathlon.results.records import Parameters, RunRecord

_ALLOWED = 20_000_000
"""Parameters that a network may have, however small its files are."""
_MOST = 8
"""More parameters for each byte of the files that hold them, at most: packed bits."""


def parameters_in(weights: Path, record: RunRecord) -> Parameters:
    """Counts the stored bits of a trial's network as they were counted when it was trained.

    Args:
        weights: The trial's weights; the networks that they share tensors with are in a folder
            ``sources`` above.
        record: The trial's record.

    Raises:
        UsageError: The method or the network is not installed.
        DataError: The file is damaged, or of another trial than the record says.
    """
    if record.trained:
        find(record.method)
    if record.network is not None:
        networks.find(str(record.network.get("name")))
    try:
        header = read_header(weights)
        _check_header(header, record)
        _check_size(header, weights)
        return _counted(weights)
    except DataError as error:
        raise DataError(f"{weights.name}: {str(error).removeprefix(f'{weights}: ')}") from None
    except Exception as error:  # whatever a method's code makes of a stranger's settings
        raise DataError(f"{weights.name}: cannot be built ({error})") from error


def _counted(weights: Path) -> Parameters:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the code is compared elsewhere
        found = open_trained(weights)
    source = Source(found.architecture, found.num_classes)
    if found.task is None:
        bits = source.count_bits()
        return Parameters(source=bits, shared=bits, domain=0, head=0, unit=source.unit_bits())
    return count_parameters(found.method, found.network, source)


def _check_header(header: dict[str, Any], record: RunRecord) -> None:
    """Raises DataError if weights are not those of a record's trial, as far as both say."""
    expected: dict[str, Any]
    if not record.trained:
        expected = {"kind": "kept", "source": record.source}
    else:
        recipe = {name: value for name, value in record.recipe.items() if name != "domains"}
        expected = {"kind": "method", "method": record.method, "recipe": recipe}
        expected |= {"architecture": record.network} if record.network else {}
        expected |= {"source": record.source} if header.get("source") else {}
    said = {key: header.get(key) for key in expected}
    if said != expected:
        wording = "is {} in the weights, {} in the record"
        raise DataError(first_difference(said, expected, "", wording))


def _check_size(header: dict[str, Any], weights: Path) -> None:
    """Raises DataError if a network would be much larger than its files, before it is built."""
    sources = next((p / SOURCES for p in weights.parents if (p / SOURCES).is_dir()), None)
    files = [sources / f"{header.get(key)}.safetensors" for key in ("source", "trunk") if sources]
    there = [weights, *(file for file in files if file.is_file())]
    if header["kind"] == "kept":
        header = read_header(there[-1])
    network = outline(Architecture.from_json(header["architecture"]))
    classes = [task["num_classes"] for task in header.get("tasks", ())]
    classes.append(header.get("source_classes", 1))
    count = sum(parameter.numel() for parameter in network.parameters())
    count += network.head.in_features * sum(classes)
    if count > _ALLOWED + _MOST * sum(file.stat().st_size for file in there):
        raise DataError(f"its files are too small for a network of {count:,} parameters")
