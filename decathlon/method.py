"""What a method is, and the registry in which methods are found.

A method is one class in one file, found through an entry point of the group
``decathlon.methods``. It says how to build a network from the source, which parameters
learn in which phase, what the loss is, and which tensors are stored. The bench does the
rest: data, loop, evaluation, records and score are the same for all.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from decathlon.domains import View, train_view
from decathlon.errors import UsageError, nearest
from decathlon.recipes import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from decathlon.models.resnet import Architecture
    from decathlon.models.weights import Source

GROUP = "decathlon.methods"


@dataclass(frozen=True)
class Task:
    """One domain to be learnt.

    Attributes:
        domain: Its name.
        num_classes: Number of classes.
        num_images: Number of training images.
    """

    domain: str
    num_classes: int
    num_images: int


@dataclass
class Batch:
    """What a network sees in one step.

    Attributes:
        images: N x 3 x H x W, float, normalised by the domain's mean and std.
        labels: N, int64.
        ids: N, int64: the images' ids, to draw noise by.
        key: 64-bit key of the noise of this (seed, domain, epoch).
        progress: Fraction of the training that is done, in [0, 1); 1 when evaluating.
        domain: Name of the domain all images are of.
        share: Of data-parallel training: this process's share of the step's images. The
            loss is weighted by it; see ``decathlon.models.processes``.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    key: int
    progress: float
    domain: str
    share: float = 1.0


@dataclass
class Group:
    """Parameters that one optimiser treats alike.

    Attributes:
        parameters: The parameters.
        lr: Initial learning rate.
        weight_decay: L2 penalty, as the optimiser applies it.
        optimiser: ``sgd`` or ``adam``.
        momentum: Of SGD.
        milestones: Fractions of the whole training at which the rate is multiplied.
        gamma: By what it is multiplied.
    """

    parameters: list[nn.Parameter]
    lr: float
    weight_decay: float = 0.0
    optimiser: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1


@dataclass
class Phase:
    """A stretch of the training with its own optimisers.

    Attributes:
        until: Where it ends, as a fraction of the whole training; the last one's is 1.
        groups: What learns in it.
        begin: Called when the phase begins, and again when training resumes inside it;
            what it does must follow from the network's tensors alone.
    """

    until: float
    groups: list[Group]
    begin: Callable[[], None] | None = None


@dataclass(frozen=True)
class Stored:
    """A tensor of a trained network and where it is kept.

    Attributes:
        name: Its name in the network.
        tensor: The tensor; bool for one bit a weight.
        place: ``shared`` with the source (kept there), of the ``trunk`` that domains trained
            jointly share (kept once), the ``domain``'s own, or its ``head``.
    """

    name: str
    tensor: Tensor
    place: Literal["shared", "trunk", "domain", "head"]


class Method:
    """The base of all methods; every hook has a default that most keep.

    Attributes:
        paper: Where the method comes from.
        year: When it was published.
        trains: What is trained, in a few words.
        recipes: Settings by protocol; ``paper`` is the default.
        scope: ``domain``: a network for each. ``joint``: one network for all.
        source_domain: What is done on imagenet12. ``keep``: the source network with its
            own head is evaluated. ``train``: trained like any other. ``joint``: one of
            the joint domains.
        needs_source: Whether the source's weights are used, not only its architecture.
    """

    paper: ClassVar[str] = ""
    year: ClassVar[int] = 0
    trains: ClassVar[str] = ""
    recipes: ClassVar[dict[str, Recipe]] = {"paper": Recipe()}
    scope: ClassVar[Literal["domain", "joint"]] = "domain"
    source_domain: ClassVar[Literal["keep", "train", "joint"]] = "keep"
    needs_source: ClassVar[bool] = True

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.recipe = recipe or self.recipes["paper"]

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Builds the network that is trained.

        Args:
            source: The pretrained network.
            tasks: The domain to learn; several when the scope is joint.

        Returns:
            A module; parameters without gradient stay as they are in the source.
        """
        return source.network(tasks[0].num_classes)

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """Returns the phases of training; by default one, SGD on all that has a gradient."""
        return [Phase(1.0, [self.sgd(network.parameters(), tasks)])]

    def sgd(
        self,
        parameters: Iterable[nn.Parameter],
        tasks: Sequence[Task],
        lr: float | None = None,
        weight_decay: float | None = None,
    ) -> Group:
        """Groups parameters under the recipe's SGD.

        Args:
            parameters: Those without gradient are left out; one given twice is taken once.
            tasks: The domain gives the weight decay (of several: the default one).
            lr: Instead of the recipe's.
            weight_decay: Instead of the recipe's.
        """
        recipe = self.recipe
        domain = tasks[0].domain if len(tasks) == 1 else ""
        return Group(
            [p for p in dict.fromkeys(parameters) if p.requires_grad],
            recipe.lr if lr is None else lr,
            recipe.decay(domain) if weight_decay is None else weight_decay,
            "sgd",
            recipe.momentum,
            recipe.milestones,
            recipe.gamma,
        )

    def logits(self, network: nn.Module, batch: Batch) -> Tensor:
        """Runs the network on a batch; N x classes."""
        out: Tensor = network(batch.images)
        return out

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Returns the scalar training loss; by default cross-entropy."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(self.logits(network, batch).float(), batch.labels)

    def predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Returns (logits N x classes, routing N x L in {0, 1} or None) for evaluation."""
        return self.logits(network, batch), None

    def finalise(self, network: nn.Module) -> nn.Module:
        """Turns the trained network into the one that is kept, possibly a smaller one."""
        return network

    def part(self, network: nn.Module, domain: str) -> nn.Module:
        """Returns one domain's network out of a jointly trained one; else the network."""
        return network

    def stored(self, network: nn.Module) -> list[Stored]:
        """Lists what is kept of a final network; saving, loading and #par rest on it.

        By default parameters without gradient and frozen statistics are shared with the
        source, ``head.*`` is the head, and all else is the domain's.
        """
        from decathlon.models.layers import frozen_names

        shared = frozen_names(network)
        return [Stored(n, t, _place(n, shared)) for n, t in network.state_dict().items()]

    def restore(self, network: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
        """Puts stored tensors into a newly built network, in its final form.

        A method whose :meth:`finalise` depends on what was learnt has one of its own.

        Args:
            network: What :meth:`build` returned (its :meth:`part` of a joint one).
            tensors: By name, as :meth:`stored` listed them, without those shared with
                the source.

        Returns:
            The final network.

        Raises:
            DataError: The tensors are not those of the network.
        """
        network = self.finalise(network)
        wanted = {s.name: s.tensor for s in self.stored(network) if s.place != "shared"}
        from decathlon.models.weights import check_fit

        check_fit(Path("weights"), wanted, tensors)
        network.load_state_dict(tensors, strict=False)
        return network

    def view(self, domain: str, training: bool) -> View:
        """Returns how images are cut; by default the domain's crop, also in testing."""
        view = train_view(domain)
        return view if training else View(view.crop)

    def pretraining(self, width: float) -> Architecture:
        """Returns the source network that the method wants; by default the plain one."""
        from decathlon.models.resnet import Architecture

        return Architecture(width=width)


def _place(name: str, shared: set[str]) -> Literal["shared", "domain", "head"]:
    if name in shared:
        return "shared"
    return "head" if name.startswith("head") else "domain"


@dataclass(frozen=True)
class About:
    """What is said of a method without importing it.

    Attributes:
        name: Registered name.
        paper: Where it comes from.
        year: Year of publication.
        trains: What is trained.
        text: First line of the class's docstring.
        target: Where the class is, ``module:Class``.
    """

    name: str
    paper: str
    year: int
    trains: str
    text: str
    target: str


@cache
def registered() -> dict[str, EntryPoint]:
    """Returns all registered methods by name, without importing any."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def about(name: str) -> About:
    """Describes a method from its source text, without importing it.

    The class's ``paper``, ``year`` and ``trains`` are read as literals.

    Raises:
        UsageError: There is no method of that name; the nearest is suggested.
    """
    point = entry(name)
    facts: dict[str, object] = {}
    text = ""
    for node in _body(point.module):
        if isinstance(node, ast.ClassDef) and node.name == point.attr:
            text = (ast.get_docstring(node) or "").partition("\n")[0]
            facts = dict(_literals(node))
    return About(
        name,
        str(facts.get("paper", "")),
        int(str(facts.get("year", 0))),
        str(facts.get("trains", "")),
        text,
        point.value,
    )


def _body(module: str) -> list[ast.stmt]:
    """Returns the statements of a module; none if it is missing or cannot be parsed."""
    try:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            return []
        return ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    except (ImportError, OSError, SyntaxError, ValueError):
        return []  # running it reports what is wrong


def _literals(node: ast.ClassDef) -> Iterable[tuple[str, object]]:
    for item in node.body:
        target = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
        value = getattr(item, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            yield target.id, value.value


def find(name: str) -> type[Method]:
    """Imports a registered method's class.

    Raises:
        UsageError: There is no method of that name, or several, or it cannot be imported.
    """
    point = entry(name)
    if len(points := entry_points(group=GROUP, name=name)) > 1:
        places = ", ".join(
            f"{p.value} of {p.dist.name if p.dist else 'no package'}" for p in points
        )
        raise UsageError(
            f"method '{name}' is registered more than once ({places}); uninstall one of the"
            " packages"
        )
    try:
        loaded = point.load()
    except (Exception, SystemExit) as error:
        said = f"sys.exit({error})" if isinstance(error, SystemExit) else error
        raise UsageError(f"method '{name}' ({point.value}) cannot be imported: {said}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise UsageError(f"method '{name}' ({point.value}) is not a subclass of decathlon Method")
    return loaded


def entry(name: str) -> EntryPoint:
    """Returns the entry point of a registered method.

    Raises:
        UsageError: There is no method of that name; the nearest is suggested.
    """
    known = registered()
    if name not in known:
        raise UsageError(
            f"unknown method '{name}'{nearest(name, known)} (known: {', '.join(known)})"
        )
    return known[name]
