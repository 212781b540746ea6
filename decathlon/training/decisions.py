"""Controls of routing: a trained network evaluated with other decisions than its policy's.

All decisions of a split are known before the first image is classified, so that they do not
depend on batches, processes or the device.
"""

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from decathlon.data.keyed import generator
from decathlon.data.shard import Int64
from decathlon.method.base import Batch, Method, Policy
from decathlon.models.noise import keyed_uniform, noise_key
from decathlon.results.controls import Control
from decathlon.training.evaluation import (
    Evaluation,
    Rows,
    assembled,
    batches,
    classify,
    evaluating,
)
from decathlon.training.feed import Feed


def policy_of(method: Method, network: nn.Module, feed: Feed, fabric: Fabric) -> Policy:
    """Returns what a method decides for all images of a feed, in their order and main memory.

    Args:
        method: One that routes images.
        network: A final network; put in evaluation mode.
        feed: The images.
        fabric: Device and precision.
    """
    decisions: list[Rows] = []
    probabilities: list[Rows] = []
    with evaluating(network, fabric):
        for positions, batch in batches(feed):
            policy = method.policy(network, batch)
            decisions.append((positions, policy.decisions.float()))
            probabilities.append((positions, policy.probabilities.float()))
        tables = [
            assembled(rows, len(feed.images), torch.float32, fabric.device)
            for rows in (decisions, probabilities)
        ]
    return Policy(*(torch.empty(len(feed.images), 0) if t is None else t.cpu() for t in tables))


def decided(
    control: Control, policy: Policy, ids: Tensor, seed: int, domain: str, draw: int = 0
) -> Tensor:
    """Returns the decisions of a control for all images of a split; N x L in {0, 1}.

    Args:
        control: The control.
        policy: What the method decides for the split.
        ids: Ids of its images, N, int64.
        seed: Seed of the trial.
        domain: Its domain.
        draw: Number of the draw, from 0, where the control draws.
    """
    learned, probabilities = policy.decisions, policy.probabilities
    key = noise_key(seed, domain, "routing", control, draw)
    match control:
        case "learned":
            return learned
        case "tuned":
            return torch.ones_like(learned)
        case "frozen":
            return torch.zeros_like(learned)
        case "mean":
            return (learned.double().mean(0) > 0.5).to(learned.dtype).expand_as(learned)
        case "shuffled":
            return learned[_others(len(learned), seed, domain)]
        case "random":
            probabilities = probabilities.double().mean(0).float()
    noise = keyed_uniform(key, ids, learned.shape[1])
    return (noise < probabilities).to(learned.dtype)


def _others(count: int, seed: int, domain: str) -> Int64:
    """Returns for each of a split's images another one, each once: a cycle through them all."""
    order = generator(seed, domain, "routing", "shuffled").permutation(count)
    others = np.empty(count, dtype=np.int64)
    others[order] = np.roll(order, 1)
    return others


def evaluate_control(
    method: Method,
    network: nn.Module,
    feed: Feed,
    fabric: Fabric,
    policy: Policy,
    control: Control,
    routes: int = 1,
) -> Evaluation:
    """Classifies all images of a feed with the decisions of a control.

    Args:
        method: One that routes images.
        network: A final network; put in evaluation mode.
        feed: The images.
        fabric: Device and precision.
        policy: What :func:`policy_of` returned for them.
        control: The control.
        routes: Draws of decisions; of several, softmax probabilities are averaged, and the result
            has no routing.

    Raises:
        TrialError: The network's logits are not finite.
    """
    ids = torch.from_numpy(feed.images.image_ids)
    tables = [
        decided(control, policy, ids, feed.seed, feed.domain, draw).to(fabric.device)
        for draw in range(routes)
    ]

    def predict(positions: Int64, batch: Batch) -> tuple[Tensor, Tensor | None]:
        found = [method.predict_on(network, batch, table[positions]) for table in tables]
        if routes == 1:
            return found[0]
        shares = [torch.softmax(logits.float(), dim=1) for logits, _ in found]
        return torch.stack(shares).mean(0), None

    return classify(predict, network, feed, fabric)
