"""What the authors' networks compute, written from their description with functions alone.

Names of tensors are those of the checkpoints; nothing of decathlon's networks is used.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def norm(state: State, name: str, x: Tensor, training: bool) -> Tensor:
    mean, var = state[f"{name}.running_mean"].clone(), state[f"{name}.running_var"].clone()
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return F.batch_norm(x, mean, var, weight, bias, training, 0.1, 1e-5)


def pooled(x: Tensor) -> Tensor:
    x = F.avg_pool2d(x, 2)
    return torch.cat([x, 0 * x], 1)


def classify(state: State, bn: str, linear: str, x: Tensor, training: bool) -> Tensor:
    x = F.relu(norm(state, bn, x, training)).mean((2, 3))
    return F.linear(x, state[f"{linear}.weight"], state[f"{linear}.bias"])


def unit(state: State, name: str, x: Tensor, stride: int, task: int, training: bool) -> Tensor:
    """A convolution with what belongs to a domain: adapter and batch normalisation."""
    y = F.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=1)
    if f"{name}.parallel_conv.{task}.conv.weight" in state:
        y = y + F.conv2d(x, state[f"{name}.parallel_conv.{task}.conv.weight"], stride=stride)
    bn = f"{name}.bns.{task}"
    if f"{bn}.0.conv.1.weight" in state:
        inner = norm(state, f"{bn}.0.conv.0", y, training)
        y = y + F.conv2d(inner, state[f"{bn}.0.conv.1.weight"])
        bn = f"{bn}.1"
    return norm(state, bn, y, training)


def residual(state: State, x: Tensor, training: bool, task: int = 0) -> Tensor:
    """A network of srebuffi/residual_adapters: images to logits."""
    x = unit(state, "pre_layers_conv", x, 1, task, training)
    macro = 1
    while any(name.startswith(f"layer{macro}.") for name in state):
        block = 0
        while f"layer{macro}.{block}.conv1.conv.weight" in state:
            name = f"layer{macro}.{block}"
            y = unit(state, f"{name}.conv1", x, 1 if block else 2, task, training)
            y = unit(state, f"{name}.conv2.1", F.relu(y), 1, task, training)
            x = F.relu(y + (x if block else pooled(x)))
            block += 1
        macro += 1
    return classify(state, f"end_bns.{task}.0", f"linears.{task}", x, training)


def branch(state: State, name: str, x: Tensor, stride: int, training: bool) -> Tensor:
    y = F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
    y = F.relu(norm(state, f"{name}.bn1", y, training))
    y = F.conv2d(y, state[f"{name}.conv2.1.weight"], padding=1)
    return norm(state, f"{name}.bn2", y, training)


def routed(state: State, x: Tensor, policy: Tensor | None, training: bool) -> Tensor:
    """SpotTune's network under a policy, N x L; without one, the policy network itself."""
    x = norm(state, "bn1", F.conv2d(x, state["conv1.weight"], padding=1), training)
    macro, index = 0, 0
    while f"blocks.{macro}.0.conv1.weight" in state:
        block = 0
        while f"blocks.{macro}.{block}.conv1.weight" in state:
            stride, skip = (1, x) if block else (2, pooled(x))
            name = f"blocks.{macro}.{block}"
            frozen = F.relu(skip + branch(state, name, x, stride, training))
            if policy is None:
                x = frozen
            else:
                tuned = F.relu(skip + branch(state, f"parallel_{name}", x, stride, training))
                share = policy[:, index].view(-1, 1, 1, 1)
                x = frozen * (1 - share) + tuned * share
            index, block = index + 1, block + 1
        macro += 1
    return classify(state, "bn2.0", "linear", x, training)
