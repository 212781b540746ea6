"""Networks that are known by name: entry points of the group ``decathlon.networks``.

A registered value is a :class:`Family`, or a function from a name to one: ``timm:resnet18`` calls
what is registered as ``timm`` with ``resnet18``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from torch import nn

from decathlon.common import plugins
from decathlon.common.errors import DataError, UsageError
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
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fixed: bool = False


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


@cache
def registered() -> "dict[str, EntryPoint]":
    """Returns all registered networks by name, without importing any."""
    return plugins.registered("network")


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
    found = plugins.loaded("network", point)
    if many and callable(found):
        found = found(rest)
    elif callable(found):
        raise UsageError(f"network '{name}' stands for many: write {name}:NAME")
    if not isinstance(found, Family):
        raise UsageError(f"network '{name}' ({point.value}) is not a decathlon Family")
    return found


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
        """
        network = self.family.build(self.width, self.blocks, num_classes)
        add_adapters(network, self.adapters)
        self.family.initialise(network)
        return network

    @property
    def policy(self) -> "Architecture":
        """The network that decides for SpotTune (section 4.1 of the paper)."""
        name, blocks = self.family.policy
        return Architecture(name, self.width * self.family.policy_width, blocks)

    @property
    def fixed_macros(self) -> int:
        """Macro blocks at the beginning among whose blocks SpotTune does not choose."""
        return self.family.fixed_macros
