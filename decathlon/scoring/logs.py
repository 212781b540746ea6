"""The logs of trials: a line of JSON for each epoch."""

import json
import math
from pathlib import Path

from decathlon.common.errors import ResultError
from decathlon.common.oserrors import explained
from decathlon.results.records import LOG
from decathlon.scoring.entries import Entry


def read_losses(path: Path) -> list[tuple[float, float]]:
    """Reads (epoch, loss) of one trial's log.

    Raises:
        ResultError: It cannot be read, or a line is not valid JSON with an epoch and a loss.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for a writer
            raise ResultError(f"{path}: is not a regular file")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ResultError(explained(error, path, failed="cannot be read")) from None
    points = []
    for number, line in enumerate(lines, start=1):
        try:
            facts = json.loads(line)
            epoch, loss = float(facts["epoch"]), float(facts["loss"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ResultError(
                f"{path}: line {number} has no epoch and loss; run the trial again with --force"
            ) from None
        if math.isfinite(loss):
            points.append((epoch, loss))
    return points


def mean_losses(results: Path, entry: Entry) -> dict[str, list[tuple[float, float]]]:
    """Returns (epoch, training loss) by domain, the mean over the seeds of an entry.

    Raises:
        ResultError: A log is damaged.
    """
    found: dict[str, dict[float, list[float]]] = {}
    for record in entry.used:
        path = results / record.folder / LOG
        if path.exists():
            curve = found.setdefault(record.domain, {})
            for epoch, loss in read_losses(path):
                curve.setdefault(epoch, []).append(loss)
    return {
        domain: [(epoch, math.fsum(curve[epoch]) / len(curve[epoch])) for epoch in sorted(curve)]
        for domain, curve in found.items()
    }
