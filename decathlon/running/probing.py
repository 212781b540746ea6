"""Probes: fitted to the features of the training images, evaluated on those of the split."""

from typing import Any

import torch
from lightning_fabric import Fabric

from decathlon.common.errors import DataError
from decathlon.data.shard import Int64
from decathlon.method.probe import Features, Probe
from decathlon.models.residual import ResidualNetwork
from decathlon.running.features import features_of
from decathlon.running.run import Run, Trial
from decathlon.suites.subset import Subset
from decathlon.training.device import to_device
from decathlon.training.evaluation import BATCH_SIZE, Evaluation

TRIED = Subset(fraction=0.7)
"""Part of each class's training images that settings are tried on, where val is not held out; one
of two."""


def fit_probe(run: Run, trial: Trial, network: ResidualNetwork, fabric: Fabric) -> dict[str, Any]:
    """Fits a probe's head in place to the features of a trial's training images.

    Settings are chosen by val if val is among them, else by three tenths of the images of each
    class; of a subset always so. Nothing is chosen by images that are reported.

    Args:
        run: What the trial belongs to; its method is a probe.
        trial: The trial.
        network: What the probe built.
        fabric: Device and precision.

    Returns:
        What was chosen.

    Raises:
        DataError: Labels of training images are unknown.
    """
    assert isinstance(run.method, Probe)
    (domain,), store = trial.domains, run.store
    splits = run.trained_on(domain)
    images = store.images(domain, splits)
    labels, ids = images.labels, images.image_ids
    if (labels < 0).any():
        raise DataError(
            f"{store.data}: labels of {domain} {'+'.join(splits)} are unknown, and nothing can be"
            " fitted to them; prepare it with --labels"
        )
    values = torch.cat([features_of(run, trial, split, network, fabric) for split in splits])
    held_out = torch.arange(len(labels)) >= store.num_images(domain, splits[:1])
    if trial.subset is not None:
        taken = trial.subset.of(labels, ids)
        values, labels, ids = values[taken], labels[taken], ids[taken]
    if trial.subset is not None or len(splits) == 1:
        held_out = torch.ones(len(labels), dtype=torch.bool)
        held_out[TRIED.of(labels, ids)] = False
    to_device(network, torch.device("cpu"))  # on every machine in the same way, in 64 bits too
    return run.method.fit(network, Features(values, torch.from_numpy(labels), held_out))


def evaluate_probe(
    run: Run, trial: Trial, network: ResidualNetwork, fabric: Fabric, labels: Int64
) -> Evaluation:
    """Classifies the images of the split that is reported by their features.

    Args:
        run: What the trial belongs to.
        trial: The trial.
        network: A fitted network.
        fabric: Device and precision.
        labels: Of the images; -1 where unknown.
    """
    values = features_of(run, trial, trial.split, network, fabric)
    to_device(network, fabric.device)
    with torch.inference_mode():
        parts = torch.split(values.to(fabric.device), BATCH_SIZE)
        predicted = torch.cat([network.head(part).argmax(1) for part in parts])
    return Evaluation(predicted.cpu().numpy(), labels, None)
