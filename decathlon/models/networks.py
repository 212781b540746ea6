"""Networks that are known by name: entry points of the group ``decathlon.networks``.

A registered value is a :class:`Family`, or :class:`Families` of which each has a name:
``timm:resnet18`` is the one that ``timm`` has under ``resnet18``.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from decathlon.common import plugins
from decathlon.common.errors import DataError, UsageError, listed
from decathlon.models.adapters import KINDS, Kind, add_adapters
from decathlon.models.layers import initialise_convolutions
from decathlon.models.residual import ResidualNetwork
from decathlon.suites.registry import DEFAULT

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

MAX_WIDTH, MAX_BLOCKS = 64, 1000
"""No file describes a larger network unless it is damaged."""


@dataclass(frozen=True)
class Input:
    """The images that a network was made for.

    Attributes:
        side: Height and width in pixels.
        mean: By which they were normalised, per channel, in [0, 1].
        std: By which they were normalised, per channel.
        fixed: Whether it takes no images of another size.

    Raises:
        ValueError: No image is like this.
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fixed: bool = False

    def __post_init__(self) -> None:
        channels = [len(values) for values in (self.mean, self.std)]
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if self.side < 1 or channels != [3, 3] or not finite:
            raise ValueError(f"{self}: give a side in pixels, and mean and std of three channels")
        if min(self.std) <= 0:
            raise ValueError(f"std={self.std}: images are divided by it; give positive numbers")


@dataclass(frozen=True)
class Family:
    """Networks that differ in width and number of blocks only.

    Attributes:
        text: What they are, in a few words.
        build: Builds one: (width, blocks in each macro block, number of classes) -> network.
        blocks: Residual blocks in each macro block, unless an architecture has its own.
        policy: Family and blocks of the policy network that SpotTune, section 4.1, uses with it.
        fixed_macros: Macro blocks that SpotTune leaves to the source, whatever the image. The first
            one of ResNet-26 (section 4.1); none of ResNet-50, for which Figure 3 shows all blocks.
        policy_width: Width of the policy network, as a factor on the network's own.
        input: The images that its published weights were made for; None if it takes those of any
            suite as they are.
        scalable: Whether there are networks of other widths and numbers of blocks.
        initialise: Draws the weights of a network that ``build`` returned.
        names: Returns the names of all tensors here by those in files, for ``import-weights
            --network``; None if files have the same names.
        bibtex: BibTeX entries of what to cite; "" if there are none.

    Raises:
        ValueError: There is no such network.
    """

    text: str
    build: Callable[[float, Sequence[int], int], ResidualNetwork]
    blocks: tuple[int, ...]
    policy: tuple[str, tuple[int, ...]]
    fixed_macros: int = 0
    policy_width: float = 1.0
    input: Input | None = None
    scalable: bool = True
    initialise: Callable[[nn.Module], None] = initialise_convolutions
    names: Callable[[], Mapping[str, str]] | None = None
    bibtex: str = ""

    def __post_init__(self) -> None:
        if not self.blocks or not all(n in range(1, MAX_BLOCKS + 1) for n in self.blocks):
            raise ValueError(
                f"blocks={self.blocks}: give the residual blocks of each macro block, each from 1"
                f" to {MAX_BLOCKS}"
            )
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if self.fixed_macros not in range(len(self.blocks) + 1):
            raise ValueError(
                f"fixed_macros={self.fixed_macros}: it has {len(self.blocks)} macro blocks"
            )
        if self.input is not None and not isinstance(self.input, Input):
            raise ValueError(f"input={self.input}: give an Input of decathlon.models.networks")


@dataclass(frozen=True)
class Families:
    """Many families under one registered name.

    Attributes:
        text: What they are, in a few words.
        find: Returns the family of a name; raises UsageError if there is none.
        examples: Names of some of them, which ``decathlon networks`` lists.
        bibtex: BibTeX entries of what to cite for all of them; "" if there are none.
    """

    text: str
    find: Callable[[str], Family]
    examples: tuple[str, ...] = ()
    bibtex: str = ""


@cache
def registered() -> "dict[str, EntryPoint]":
    """Returns all registered networks by name, without importing any."""
    return plugins.registered("network")


def loaded(prefix: str) -> object:
    """Returns what is registered under a name.

    Raises:
        UsageError: There is nothing of that name, or it cannot be imported.
    """
    return plugins.loaded("network", plugins.chosen("network", registered(), prefix))


@cache
def find(name: str) -> Family:
    """Returns a family of networks.

    Args:
        name: A registered name, or ``PREFIX:NAME`` for one of many, such as ``timm:resnet18``.

    Raises:
        UsageError: There is none of that name, or it cannot be imported.
    """
    prefix, many, rest = name.partition(":")
    point = plugins.chosen("network", registered(), prefix)
    found = loaded(prefix)
    if many and isinstance(found, Families):
        with plugins.blamed("network", name, point, "found"):
            found = found.find(rest)
    elif isinstance(found, Families):
        raise UsageError(f"network '{name}' stands for many: write {name}:NAME")
    elif many:  # one network has one name: records of two names are of two networks
        raise UsageError(f"network '{prefix}' is a single one: write {prefix}, not '{name}'")
    if not isinstance(found, Family):
        raise UsageError(f"network '{name}' ({point.value}) is not a decathlon Family")
    return found


def blaming(name: str, what: str) -> AbstractContextManager[None]:
    """Turns what the code of a stranger's network raises into one message.

    Args:
        name: Name of the network.
        what: What its code is called for, such as ``built``.
    """
    return plugins.blamed("network", name, registered()[name.partition(":")[0]], what)


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a network again.

    Attributes:
        name: Family, see :func:`find`.
        width: Factor on all channel numbers.
        blocks: Residual blocks in each macro block; by default as many as the family has.
        adapters: ``none``, ``series`` or ``parallel``: residual adapters at every 3x3
            convolution.
    """

    name: str = DEFAULT.network
    width: float = 1.0
    blocks: tuple[int, ...] = ()
    adapters: Kind = "none"

    def __post_init__(self) -> None:
        if not self.blocks:
            object.__setattr__(self, "blocks", self.family.blocks)

    @property
    def family(self) -> Family:
        """What the network is one of."""
        return find(self.name)

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {**asdict(self), "blocks": list(self.blocks)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Architecture":
        """Reads what :meth:`as_json` wrote.

        Raises:
            DataError: The value does not describe a network that is known here.
        """
        try:
            name = value.get("name", cls.name)
            family = find(name)
            self = cls(**{**value, "blocks": tuple(value.get("blocks", ()))})
        except UsageError as error:
            raise DataError(
                f"the weights are of a network '{name}', which is not known here: {error}"
            ) from None
        except (AttributeError, TypeError) as error:
            raise DataError(f"the weights describe no known network ({error})") from None
        sizes = [self.width, *self.blocks]
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in sizes) or not (
            0 < self.width <= MAX_WIDTH and all(n in range(1, MAX_BLOCKS + 1) for n in self.blocks)
        ):
            raise DataError(
                f"the weights describe no possible network (width {self.width}, blocks"
                f" {list(self.blocks)})"
            )
        if not family.scalable and (self.width, self.blocks) != (1, family.blocks):
            raise DataError(
                f"the weights are of a {name} of width {self.width:g} with blocks"
                f" {list(self.blocks)}; here it has {list(family.blocks)}, at width 1"
            )
        if self.adapters not in KINDS:
            raise DataError(f"the weights have adapters '{self.adapters}', not known here")
        return self

    def build(self, num_classes: int) -> ResidualNetwork:
        """Builds the network with new weights from torch's random state.

        Convolutions of ResNets are drawn from N(0, 2 / (k^2 C_out)) and linear layers as torch
        does, as in the residual adapters' code (``models.py``, 110-116) and in torchvision.

        Raises:
            UsageError: The code of a stranger's network fails, or builds something else.
        """
        with blaming(self.name, "built"):
            network = self.family.build(self.width, self.blocks, num_classes)
            self._check(network, num_classes)
            add_adapters(network, self.adapters)
            self.family.initialise(network)
        return network

    def _check(self, network: ResidualNetwork, num_classes: int) -> None:
        """Raises UsageError unless what a family built is the network that was asked for."""
        fault = ""
        if not isinstance(network, ResidualNetwork):
            fault = f"a {type(network).__name__}, not a ResidualNetwork"
        elif (
            blocks := tuple(len(list(macro.children())) for macro in network.macros)
        ) != self.blocks:
            fault = f"macro blocks of {list(blocks)} residual blocks, not {list(self.blocks)}"
        elif (classes := network.head.out_features) != num_classes:
            fault = f"a head of {classes} classes, not {num_classes}"
        if fault:
            raise UsageError(f"network '{self.name}': its build returned {fault}")

    def names_in_files(self) -> Mapping[str, str]:
        """Returns the names of all tensors here by those in files, see :class:`Family`.

        Raises:
            UsageError: The code of a stranger's network fails, or names other tensors.
        """
        with torch.device("meta"):
            ours = self.build(1).state_dict().keys()
        if self.family.names is None:
            return {key: key for key in ours}
        with blaming(self.name, "imported from files"):
            found = dict(self.family.names())
            named, wanted = Counter(found.values()), Counter(ours)
            if wrong := sorted(map(str, (named - wanted) + (wanted - named))):
                raise UsageError(
                    f"network '{self.name}': its names have to give each of its tensors once; they"
                    f" do not with {listed(wrong, most=3)}"
                )
        return found

    @property
    def policy(self) -> "Architecture":
        """The network that decides for SpotTune (section 4.1 of the paper)."""
        name, blocks = self.family.policy
        return Architecture(name, self.width * self.family.policy_width, blocks)

    @property
    def fixed_macros(self) -> int:
        """Macro blocks at the beginning among whose blocks SpotTune does not choose."""
        return self.family.fixed_macros
