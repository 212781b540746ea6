"""A finished trial's network, evaluated again with other decisions."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decathlon.common.errors import DataError, UsageError
from decathlon.data.reading.store import Store, open_store
from decathlon.method.recipe import from_json
from decathlon.method.registry import find
from decathlon.method.stored import load_model
from decathlon.models.networks import Architecture
from decathlon.results.controls import CONTROLS, Control, control_name
from decathlon.results.records import WEIGHTS, RunRecord
from decathlon.training.decisions import evaluate_control, policy_of
from decathlon.training.device import RECORDED, Compute
from decathlon.training.feed import Feed, task_of

ALL_CONTROLS: tuple[tuple[Control, int], ...] = (*((one, 1) for one in CONTROLS), ("sampled", 5))
"""The controls that are evaluated together, and the routes of each."""
NUM_PASSES = 1 + sum(routes for _, routes in ALL_CONTROLS)
"""Passes over the images: one for the policy, and one for each route of each control."""


@dataclass(frozen=True)
class ControlResult:
    """What a trial's network gives as one of the controls.

    Attributes:
        control: The control.
        routes: Draws that were averaged.
        correct: Whether each image is classified correctly, in the order of the record.
    """

    control: Control
    routes: int
    correct: NDArray[np.bool_]


def check_routes(folder: Path, record: RunRecord) -> None:
    """Checks that a trial has controls of routing.

    Raises:
        UsageError: Its method does not route images, or it is a control itself.
    """
    if record.routing is not None:
        raise UsageError(
            f"{folder}: is a control, and holds no weights; report the folder of"
            f" {record.routing.weights}, whose networks it evaluates"
        )
    if not record.trained or not find(record.method).routes_images:
        raise UsageError(
            f"{folder}: method '{record.method}' decides no block's path for each image here, so it"
            " has no controls; leave --routing-controls out"
        )


def evaluate_controls(
    folder: Path,
    record: RunRecord,
    data: Path,
    compute: Compute,
    on_pass: Callable[[int, str], None],
) -> list[ControlResult]:
    """Evaluates the network of a finished trial as each of its controls.

    Args:
        folder: The trial's folder, with its weights.
        record: Its record; see :func:`check_routes`.
        data: The data folder that it was evaluated on.
        compute: Device and precision; ``auto`` is 32 bits if the trial was evaluated in 32 bits.
        on_pass: Called with the number of passes over the images that are done, and for what.

    Returns:
        The results, in the order of :data:`ALL_CONTROLS`.

    Raises:
        DataError: The weights or the data are missing, or the data is other data or has no
            labels.
    """
    kind = find(record.method)
    recipe = {key: value for key, value in record.recipe.items() if key != "domains"}
    method = kind(from_json(kind.recipes, recipe, f"method '{record.method}'"))
    store, domain = open_store(data), record.domain
    _check_same(store, record)
    network, used = load_model(folder / WEIGHTS), str(record.environment.get("precision"))
    if RECORDED.get(used) == "32" and compute.precision == "auto":
        compute = replace(compute, precision="32")
    fabric = compute.fabric(network)
    task = task_of(store, domain, (record.split,), crop=record.crop)
    view = method.view(replace(task, num_images=record.num_trained or 0), training=False)
    size, seed = method.recipe.batch_size, record.seed
    made_for = Architecture.from_json(record.network).family.input if record.network else None
    feed = Feed(
        store, domain, (record.split,), view, size, seed, fabric.device,
        crop=record.crop, made_for=made_for,
    )  # fmt: skip
    policy = policy_of(method, network, feed, fabric)
    on_pass(1, "policy")
    found = []
    for control, routes in ALL_CONTROLS:
        done = evaluate_control(method, network, feed, fabric, policy, control, routes)
        if done.correct is None:
            raise DataError(
                f"{data}: the {record.split} labels of {domain} are unknown; prepare it with"
                " --labels, and run the trial again"
            )
        found.append(ControlResult(control, routes, done.correct))
        on_pass(routes, control_name(control, routes))
    return found


def _check_same(store: Store, record: RunRecord) -> None:
    """Raises DataError unless a record was evaluated on these images."""
    domain, split = record.domain, record.split
    store.domain(domain)
    store.check_splits(domain, (split,))
    if store.domains[domain].splits[split].digest != record.data.get(split):
        raise DataError(
            f"{store.data}: holds other {domain} {split} data than {record.folder} was evaluated"
            " on; name that data with --data"
        )
