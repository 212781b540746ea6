"""What every method has to keep to, as one check that a stranger can run on their own.

    from decathlon.testing import check_method

    def test_my_method() -> None:
        check_method("my-method")

It needs no data and no test framework: a source network and a few images are made up.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from decathlon.method.base import Batch, Method, Task
from decathlon.method.probe import Features, Probe
from decathlon.method.recipe import apply, from_json, without_range
from decathlon.method.registry import find
from decathlon.method.stored import (
    count_parameters,
    keep_source,
    keep_trunk,
    load_trained,
    save_trained,
)
from decathlon.models.adapters import Kind
from decathlon.models.layers import batch_norms
from decathlon.models.networks import Architecture
from decathlon.models.residual import ResidualNetwork
from decathlon.models.tensor_names import RUNNING
from decathlon.models.tied import distinct
from decathlon.models.weights import (
    Source,
    bits_of,
    read_source,
    read_weights,
    write_source,
)
from decathlon.results.records import WEIGHTS, Parameters
from decathlon.suites.registry import DEFAULT
from decathlon.suites.registry import find as find_suite
from decathlon.training.device import Compute, to_device
from decathlon.training.loop import train

WIDTH = 0.25
CLASSES = 4
SOURCE_CLASSES = 6
IMAGES = 16
SIDE, REDUCED = 16, 32
"""Side of the images in pixels; the second is for networks that cannot be made narrow, which may
reduce it to a 32nd."""
BUDGETS = (40, 300)
"""Steps on the one batch; the second is for methods that learn slowly."""


@dataclass(frozen=True)
class Conformance:
    """What a check found.

    Attributes:
        steps: Steps that were taken on one batch.
        loss: Cross-entropy of the final network on that batch; guessing gives log 4.
        parameters: Counted bits, of the last domain.
    """

    steps: int
    loss: float
    parameters: Parameters


class OneBatch:
    """A domain of one batch, which every step sees again.

    Attributes:
        task: The domain.
        steps_per_epoch: Steps that are called an epoch.
        batch: The images: gratings and colours that tell the classes apart, and noise.
    """

    def __init__(self, task: Task, steps: int, side: int = SIDE) -> None:
        self.task, self.steps_per_epoch = task, steps
        generator = torch.Generator().manual_seed(sum(map(ord, task.domain)))
        labels = torch.arange(IMAGES) % task.num_classes
        grid = torch.linspace(0, 1, side)
        waves = torch.sin(4 * (labels[:, None] + 1) * grid)
        colours = torch.randn(task.num_classes, 3, generator=generator)[labels]
        images = colours[:, :, None, None] + waves[:, None, None, :]
        images = images + 0.3 * torch.randn(IMAGES, 3, side, side, generator=generator)
        self.batch = Batch(images, labels, torch.arange(IMAGES) + 7, 11, 0.0, task.domain)

    def training(self, start: int, progress: Callable[[int], float]) -> Iterator[Batch]:
        """Yields the batch without end."""
        for step in count(start):
            yield replace(self.batch, progress=progress(step))


def check_method(
    method: str | type[Method],
    settings: Mapping[str, Any] | None = None,
    architecture: Architecture | None = None,
    suite: str = DEFAULT.name,
    network: str | None = None,
) -> Conformance:
    """Checks that a method keeps to what the bench relies on.

    It builds; it overfits one batch; tensors that it calls shared are bit by bit the
    source's after training; what is stored gives the same logits when it is loaded; and
    what is counted is what is stored.

    Args:
        method: Registered name, or the class.
        settings: Settings of its recipe, as with ``--set``.
        architecture: Of the source network; by default the one the method asks for, at a
            quarter of the width.
        suite: Registered name of the suite whose recipe is used.
        network: Family of the source network, such as ``resnet50``, instead of ``architecture``;
            where it can be scaled, it has a quarter of the width, two blocks in the first macro
            block and one in each of the others.

    Returns:
        What was found.

    Raises:
        AssertionError: The method does not conform, or refuses the network; the message says
            where or why.
    """
    kind = find(method) if isinstance(method, str) else method
    recipe = apply(kind.recipes, settings or {}, kind.__name__, find_suite(suite))
    plain = without_range(type(recipe))
    _check(
        not plain,
        f"{kind.__name__}: any number would do for {', '.join(plain)} of its recipe; give it a"
        " range with a type of decathlon.method.recipe, such as Positive, Fraction or Count",
    )
    again = from_json(kind.recipes, recipe.as_json(), kind.__name__)
    _check(again == recipe, f"{kind.__name__}: its recipe does not survive JSON: {again}")
    found = None
    with TemporaryDirectory() as folder:
        for steps in BUDGETS:
            one = kind(replace(recipe, epochs=1, steps=None))
            wanted = architecture or one.pretraining(WIDTH)
            if network is not None:
                wanted = _small(network, wanted.adapters)
            source = made_up_source(Path(folder), wanted)
            reason = kind.refusal(source)
            _check(not reason, f"{kind.__name__}: refuses the network: {reason}")
            found = _Trial(one, source, steps, Path(folder) / "results").check()
            if found.loss < 0.5 * math.log(CLASSES):
                return found
    assert found is not None
    raise AssertionError(
        f"{kind.__name__}: does not overfit one batch: after {found.steps} steps its cross-entropy"
        f" is {found.loss:.3f}, guessing gives {math.log(CLASSES):.3f}; do the right parameters"
        " learn, and fast enough?"
    )


def _small(network: str, adapters: Kind) -> Architecture:
    """Returns the smallest network of a family that has its parts."""
    whole = Architecture(network, adapters=adapters)
    if not whole.family.scalable:
        return whole
    return replace(whole, width=WIDTH, blocks=(2, *(1 for _ in whole.blocks[1:])))


def side_of(architecture: Architecture) -> int:
    """Returns the side of the smallest images that a network is checked with, in pixels."""
    family = architecture.family
    if family.input is not None and family.input.fixed:
        return family.input.side
    return SIDE if family.scalable else REDUCED


def made_up_source(folder: Path, architecture: Architecture) -> Source:
    """Writes and reads a source network with random weights and moved batch statistics."""
    side = side_of(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = architecture.build(SOURCE_CLASSES)
        if any(True for _ in batch_norms(network)):
            with torch.no_grad():
                for _ in range(20):
                    network(torch.randn(IMAGES, 3, side, side))
    path = folder / "source.safetensors"
    write_source(path, network, architecture, {})
    return read_source(path)


class _Trial:
    """One training of a method on made-up domains, and all that is checked of it."""

    def __init__(self, method: Method, source: Source, steps: int, results: Path) -> None:
        self.method, self.source, self.results = method, source, results
        self.steps, self.name = steps, type(method).__name__
        tasks = [Task("first", CLASSES, IMAGES)]
        if method.scope == "joint":
            tasks += [Task("second", CLASSES, IMAGES)]
            tasks += [Task("source", SOURCE_CLASSES, IMAGES, is_source=True)]
        side = side_of(source.architecture)
        self.streams = [OneBatch(task, steps, side) for task in tasks]

    def check(self) -> Conformance:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            tasks = [stream.task for stream in self.streams]
            network = self.method.build(self.source, tasks)
            _check(isinstance(network, nn.Module), f"{self.name}.build returns no module")
            built = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            fabric = Compute("cpu", "32").fabric()
            if isinstance(self.method, Probe):
                final = self._fitted(network)
            else:
                final = train(self.method, network, self.streams, fabric, 0, lambda facts: None)
        final.eval()
        keep_source(self.source, self.results)
        trunk = None
        if self.method.scope == "joint":
            one = self.method.part(final, tasks[0].domain)
            trunk = keep_trunk(self.results, self.method, one, self.source)
        losses = []
        for stream in self.streams:
            part = self.method.part(final, stream.task.domain)
            logits = self._predict(part, stream)
            losses.append(float(cross_entropy(logits, stream.batch.labels)))
            self._check_shared(part, built)
            parameters = self._check_stored(part, stream, trunk, logits)
        return Conformance(self.steps, max(losses), parameters)

    def _fitted(self, network: nn.Module) -> nn.Module:
        """Fits a probe to the features of the batch, one image of each class held out."""
        assert isinstance(self.method, Probe)
        _check(isinstance(network, ResidualNetwork), f"{self.name}.build: no ResidualNetwork")
        assert isinstance(network, ResidualNetwork)
        to_device(network, torch.device("cpu"))
        batch = self.streams[0].batch
        with torch.inference_mode():
            values = network.eval().features(batch.images)
        held_out = torch.arange(IMAGES) < CLASSES
        self.method.fit(network, Features(values.clone(), batch.labels, held_out))
        return network

    def _predict(self, network: nn.Module, stream: OneBatch) -> Tensor:
        batch = replace(stream.batch, progress=1.0)
        with torch.inference_mode():
            logits, routing = self.method.predict(network, batch)
            again, _ = self.method.predict(network, batch)
        shape = (IMAGES, stream.task.num_classes)
        _check(logits.shape == shape, f"{self.name}.predict: logits {tuple(logits.shape)}")
        _check(torch.equal(logits, again), f"{self.name}.predict: differs when called again")
        if routing is not None:
            binary = bool(((routing == 0) | (routing == 1)).all())
            _check(routing.ndim == 2 and len(routing) == IMAGES, f"{self.name}: routing's shape")
            _check(binary, f"{self.name}.predict: routing is not made of 0 and 1")
        if self.method.routes_images:
            with torch.inference_mode():
                policy = self.method.policy(network, batch)
                routed = self.method.predict_on(network, batch, policy.decisions)
            same = torch.equal(routed[0], logits) and routing is not None
            _check(same, f"{self.name}.predict_on: differs from predict with policy's decisions")
            shapes = policy.decisions.shape == policy.probabilities.shape
            _check(shapes, f"{self.name}.policy: decisions and probabilities differ in shape")
        return logits

    def _check_shared(self, network: nn.Module, built: Mapping[str, Tensor]) -> None:
        """What is called shared has to be the source's, and unchanged."""
        tensors = self.source.network().state_dict()
        for stored in self.method.stored(network):
            if stored.place == "shared":
                before = tensors.get(stored.name, built.get(stored.name))
                _check(before is not None, f"{self.name}: {stored.name} is shared with nothing")
                same = before is not None and torch.equal(before, stored.tensor)
                _check(same, f"{self.name}: {stored.name} is shared, but training changed it")

    def _check_stored(
        self, network: nn.Module, stream: OneBatch, trunk: str | None, logits: Tensor
    ) -> Parameters:
        """What is written has to be what is counted, and to give the same logits."""
        path = self.results / stream.task.domain / WEIGHTS
        save_trained(path, self.method, network, self.source, [stream.task], trunk)
        written = distinct(read_weights(path)[1])
        bits = sum(bits_of(t) for n, t in written.items() if not n.endswith(RUNNING))
        counted = count_parameters(self.method, network, self.source)
        own = counted.domain + counted.head
        _check(bits == own, f"{self.name}: {bits} bits are written, {own} counted")
        loaded = load_trained(path, type(self.method)).eval()
        to_device(loaded, torch.device("cpu"))
        same = torch.equal(self._predict(loaded, stream), logits)
        _check(same, f"{self.name}: logits differ after saving and loading; see 'stored'")
        return counted


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
