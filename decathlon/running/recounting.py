"""Counting the parameters of a network that a file holds, for checks of strangers' results."""

import warnings
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.method.stored import SOURCES, count_parameters, open_trained
from decathlon.models.capabilities import outline
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source, read_header
from decathlon.results.records import Parameters, RunRecord

_MOST = 8
"""Parameters of a plain network for each byte of the files that hold it, at most: packed bits."""


def parameters_in(weights: Path, record: RunRecord) -> Parameters:
    """Counts the stored bits of a trial's network as they were counted when it was trained.

    Args:
        weights: The trial's weights; the networks that they share tensors with are in a folder
            ``sources`` above.
        record: The trial's record.

    Raises:
        UsageError: The method is not installed.
        DataError: The file is damaged, or of another network or method than the record says.
    """
    header = read_header(weights)
    if record.trained and header.get("method") != record.method:
        raise DataError(f"{weights}: is of method '{header.get('method')}', not of {record.method}")
    _check_size(weights, record)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the code is compared elsewhere
        found = open_trained(weights)
    if record.network is not None and found.architecture.as_json() != record.network:
        raise DataError(f"{weights}: is of another network than the record says")
    source = Source(found.architecture, found.num_classes)
    if found.task is None:
        bits = source.count_bits()
        return Parameters(source=bits, shared=bits, domain=0, head=0, unit=source.unit_bits())
    return count_parameters(found.method, found.network, source)


def _check_size(weights: Path, record: RunRecord) -> None:
    """Raises DataError if the network would be much larger than its files, before it is built."""
    if record.network is None:
        return
    network = outline(Architecture.from_json(record.network))
    count = sum(parameter.numel() for parameter in network.parameters())
    sources = next((p / SOURCES for p in weights.parents if (p / SOURCES).is_dir()), None)
    files = [weights, *(sources.iterdir() if sources else ())]
    if count > _MOST * sum(file.stat().st_size for file in files):
        raise DataError(
            f"{weights}: its files are too small for a {record.network['name']} of"
            f" {count:,} parameters"
        )
