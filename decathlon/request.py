"""From names, paths and settings to a checked :class:`decathlon.runs.Run`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from decathlon.data.store import Store
from decathlon.errors import UsageError
from decathlon.files import CHECKPOINT_SECONDS
from decathlon.method import find
from decathlon.models.resnet import Architecture
from decathlon.models.weights import Source, read_source
from decathlon.plan import Run
from decathlon.recipes import apply, parse_settings
from decathlon.training.device import Compute


def request(
    method: str,
    *,
    store: Store,
    source: Path | None,
    results: Path,
    domains: Sequence[str] | None,
    split: str,
    seeds: Sequence[int],
    name: str | None,
    settings: Sequence[str],
    compute: Compute,
    force: bool,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int = 0,
) -> Run:
    """Checks what a user asked for and makes it a run.

    Args:
        method: Registered name.
        store: The data.
        source: Weights of the source network; may be None for methods that start from
            nothing, which then take ``--set width=``.
        results: RESULTS.
        domains: Domains, or None for all that are prepared.
        split: ``val`` or ``test``.
        seeds: Seeds.
        name: Name in the results, or None for the method's.
        settings: ``field=value`` arguments.
        compute: Device and precision.
        force: Run again what is finished.
        checkpoint_seconds: Seconds between two checkpoints.
        checkpoint_steps: Steps after which there is one at the latest; 0 for no such rule.

    Raises:
        UsageError: Something named is not known or does not fit.
        DataError: The source weights are missing or damaged.
    """
    kind = find(method)
    values = parse_settings(settings)
    width = None if kind.needs_source or source is not None else values.pop("width", 1.0)
    recipe = apply(kind.recipes, values, f"method '{method}'")
    return Run(
        kind(recipe),
        method,
        name or method,
        _source(method, source, width),
        store,
        results,
        tuple(dict.fromkeys(domains or store.domains)),
        split,
        tuple(dict.fromkeys(seeds)),
        compute,
        force,
        checkpoint_seconds,
        checkpoint_steps,
    )


def _source(method: str, path: Path | None, width: Any) -> Source:
    if path is not None:
        return read_source(path)
    if width is None:
        raise UsageError(
            f"method '{method}' starts from a source network: name it with --source"
            " (made by 'decathlon pretrain' or 'decathlon import-weights')"
        )
    if not isinstance(width, int | float) or not 0.05 <= width <= 32:
        raise UsageError(f"--set width={width}: is a number from 0.05 to 32")
    return Source(Architecture(width=float(width)), 1)
