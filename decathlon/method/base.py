"""What a method is.

A method is one class in one file, found through an entry point of the group
``decathlon.methods`` (:mod:`decathlon.method.registry`). It says how to build a network from the
source, which parameters learn in which phase, what the loss is, and which tensors are stored. The
bench does the rest: data, loop, evaluation, records and score are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from decathlon.common.errors import DataError, UsageError
from decathlon.method.recipe import Recipe
from decathlon.models.tensor_names import HEAD
from decathlon.suites.base import View, Views
from decathlon.suites.registry import DEFAULT

if TYPE_CHECKING:
    from torch import Tensor, nn

    from decathlon.models.networks import Architecture
    from decathlon.models.weights import Source


WHOLE = Views.of(View(None))
"""Images as they are."""


@dataclass(frozen=True)
class Task:
    """One domain to be learnt.

    Attributes:
        domain: Its name.
        num_classes: Number of classes.
        num_images: Number of training images.
        views: How its images are cut.
        released: The same in published codes, by the name of their method.
        is_source: Whether the source network was trained on this domain.
    """

    domain: str
    num_classes: int
    num_images: int
    views: Views = field(default=WHOLE, compare=False)
    released: Mapping[str, Views] = field(default_factory=dict, compare=False)
    is_source: bool = field(default=False, compare=False)


@dataclass
class Batch:
    """What a network sees in one step.

    Attributes:
        images: N x 3 x H x W, float, normalised by the mean and std that the source network was
            made for, or by the domain's.
        labels: N, int64.
        ids: N, int64: the images' ids, to draw noise by.
        key: 64-bit key of the noise of this (seed, domain, epoch).
        progress: Fraction of the training that is done, in [0, 1); 1 when evaluating.
        domain: Name of the domain all images are of.
        share: Of data-parallel training: this process's share of the step's images. The
            loss is weighted by it; see ``decathlon.models.processes``.
        phase: Index of the phase that the training is in; -1, the last, when evaluating.
        step: Number of the training step, from 0; 0 when evaluating.
        index: Numbers of the images in their feed, N, int64, on the CPU; None if there is no feed.
        draw: Number of the images' crops, of those that the recipe's ``crops`` allows; else the
            epoch. 0 when evaluating.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    key: int
    progress: float
    domain: str
    share: float = 1.0
    phase: int = -1
    step: int = 0
    index: Tensor | None = None
    draw: int = 0


@dataclass(frozen=True)
class Policy:
    """What a method that routes images decides for some of them.

    Attributes:
        decisions: What it predicts with, N x L in {0, 1}; 1 takes the tuned path of a block.
        probabilities: Of the tuned path, N x L.
    """

    decisions: Tensor
    probabilities: Tensor


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
        nesterov: Nesterov's momentum, of SGD.
        schedule: ``steps`` multiplies the rate at the milestones; ``cosine`` lowers it to 0 along
            half a cosine instead.
        warm_up: Fraction of the whole training in which the rate first rises linearly.
    """

    parameters: list[nn.Parameter]
    lr: float
    weight_decay: float = 0.0
    optimiser: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    nesterov: bool = False
    schedule: Literal["steps", "cosine"] = "steps"
    warm_up: float = 0.0


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
    begin: Callable[[], object] | None = None


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
        bibtex: BibTeX entries of what to cite, for ``decathlon cite``; "" if there are none.
        recipes: Settings by protocol; ``paper`` is the default.
        scope: ``domain``: a network for each. ``joint``: one network for all.
        source_domain: What is done on the domain that source networks are trained on.
            ``keep``: the source network with its own head is evaluated. ``train``: trained
            like any other. ``joint``: one of the joint domains.
        needs_source: Whether the source's weights are used, not only its architecture.
        trained_by: Registered name of the method that trains the network; "" for the method
            itself. Otherwise nothing is trained: the network of that method's trial of the same
            domain, split, seed, recipe and source is evaluated.
        release: Name of the method's published code in a suite's ``releases``, for the protocol
            ``released``; "" if what it does there is no other than in the suite.
        routes_images: Whether the final network has blocks whose path is decided for each image;
            then :meth:`policy` and :meth:`predict_on` say how.
    """

    paper: ClassVar[str] = ""
    year: ClassVar[int] = 0
    trains: ClassVar[str] = ""
    bibtex: ClassVar[str] = ""
    recipes: ClassVar[dict[str, Recipe]] = {"paper": Recipe()}
    scope: ClassVar[Literal["domain", "joint"]] = "domain"
    source_domain: ClassVar[Literal["keep", "train", "joint"]] = "keep"
    needs_source: ClassVar[bool] = True
    trained_by: ClassVar[str] = ""
    release: ClassVar[str] = ""
    routes_images: ClassVar[bool] = False

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.recipe = recipe or self.recipes["paper"].on(DEFAULT)

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
        return [Phase(1.0, self.groups(network.named_parameters(), tasks))]

    def groups(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        tasks: Sequence[Task],
        weight_decay: float | None = None,
        new: Collection[str] = (HEAD,),
    ) -> list[Group]:
        """Groups named parameters under the recipe's SGD.

        Args:
            parameters: By name.
            tasks: See :meth:`sgd`.
            weight_decay: Instead of the recipe's.
            new: Beginnings of the names of newly drawn layers.

        Returns:
            One group; two if the recipe gives newly drawn layers a rate of their own.
        """
        named, rate = list(parameters), self.recipe.head_lr
        if rate is None:
            return [self.sgd((p for _, p in named), tasks, None, weight_decay)]
        drawn = [p for n, p in named if n.startswith(tuple(new))]
        trunk = [p for n, p in named if not n.startswith(tuple(new))]
        return [
            self.sgd(trunk, tasks, None, weight_decay),
            self.sgd(drawn, tasks, rate, weight_decay),
        ]

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
            recipe.nesterov,
        )

    def beginning(self, network: nn.Module) -> list[nn.Module]:
        """Lists the layers that take the images of a step, each what the one before returns.

        While the first of them are frozen, ``run --cache-frozen`` replaces what they compute by
        what the last of these once returned; :meth:`loss` must not depend on the others. By
        default stem, blocks and tail of a residual network, and of other networks none.
        """
        from decathlon.models.residual import ResidualNetwork

        if not isinstance(network, ResidualNetwork):
            return []
        return [network.stem, *(block for _, block in network.blocks()), network.tail]

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

    def policy(self, network: nn.Module, batch: Batch) -> Policy:
        """Decides for a batch, of L routed blocks, what :meth:`predict` decides.

        Raises:
            UsageError: The method does not route images.
        """
        raise UsageError(f"{type(self).__name__} does not route images")

    def predict_on(
        self, network: nn.Module, batch: Batch, decisions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predicts as :meth:`predict` does, but with given decisions.

        Args:
            network: The final network.
            batch: The images.
            decisions: N x L in {0, 1}, of the blocks that :meth:`policy` decides on.

        Raises:
            UsageError: The method does not route images.
        """
        raise UsageError(f"{type(self).__name__} does not route images")

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

    def view(self, task: Task, training: bool) -> View:
        """Returns how images are cut; by default as the domain's suite says.

        In ``released`` that is as the published code does it on that suite, where it differs.
        """
        views = task.views
        if self.recipe.protocol == "released":
            views = task.released.get(self.release, views)
        return views.train if training else views.test

    @classmethod
    def refusal(cls, source: Source) -> str:
        """Returns why the method cannot start from a source network; "" if it can.

        A run that names the method stops with this text; a run of all methods leaves it out and
        says so.

        Args:
            source: The network.
        """
        return ""

    @classmethod
    def imported(cls, header: Mapping[str, Any]) -> nn.Module:
        """Builds the network of the authors' checkpoints, for ``import-weights``' tensors.

        By default there is none.

        Args:
            header: Of the imported file: ``architecture`` and whatever else it describes.

        Raises:
            DataError: The authors' networks of this method cannot be imported.
        """
        raise DataError(f"networks of {cls.__name__} cannot be imported")

    def pretraining(self, width: float) -> Architecture:
        """Returns the source network that the method wants; by default the plain one."""
        from decathlon.models.networks import Architecture

        return Architecture(width=width)


def _place(name: str, shared: set[str]) -> Literal["shared", "domain", "head"]:
    if name in shared:
        return "shared"
    return "head" if name.startswith(HEAD) else "domain"
