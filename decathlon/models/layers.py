"""Layers that stay frozen, and the one way to exchange layers of a network."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from decathlon.common.errors import UsageError

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound="BatchNorm2d")
KNOWN = ("torch.", "decathlon")
"""Beginnings of the modules whose layers are known to ignore their mode, but for few."""


class Freezable(nn.Module):
    """A layer that can be frozen: it then stays in evaluation mode, whatever the loop asks for.

    A frozen batch normalisation normalises by its running statistics and leaves them alone; a
    frozen dropout drops nothing. The mode of layers inside is their own.

    Attributes:
        frozen: Whether the layer stays in evaluation mode.
    """

    frozen = False

    def train(self, mode: bool = True) -> "Freezable":
        """Sets the mode, of this layer unless frozen."""
        super().train(mode)
        self.training = mode and not self.frozen
        return self


class BatchNorm2d(Freezable, nn.BatchNorm2d):
    """Batch normalisation that can be frozen, and does nothing else."""


@cache
def _freezable(kind: type[nn.Module]) -> type[Freezable]:
    """Returns the class of a layer, such that it can be frozen."""
    if issubclass(kind, Freezable):
        return kind
    if kind is nn.BatchNorm2d:
        return BatchNorm2d
    return type(kind.__name__, (Freezable, kind), {"__module__": kind.__module__})


def _set_frozen(layer: nn.Module) -> None:
    """Keeps a layer in evaluation mode, in place."""
    layer.__class__ = _freezable(type(layer))  # type: ignore[arg-type] # mypy: not hashable
    assert isinstance(layer, Freezable)
    layer.frozen = True
    layer.training = False


def _has_modes(layer: nn.Module) -> bool:
    """Whether a layer may compute something else in training: by other images, or at random.

    Of torch's layers, normalisations, dropout and attention do. Layers of other libraries may read
    their mode for anything: timm's attention drops entries, its paths drop whole images.
    """
    kinds = _NormBase | _DropoutNd | nn.MultiheadAttention
    return isinstance(layer, kinds) or is_foreign(layer)


def is_foreign(layer: nn.Module) -> bool:
    """Whether a layer is of another library than torch and this one."""
    return not type(layer).__module__.startswith(KNOWN)


class SyncedBatchNorm2d(BatchNorm2d, nn.SyncBatchNorm):
    """One whose batch statistics are those of all processes together; on GPUs only."""


def normalised(conv: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolves and normalises; while training, as one convolution where both layers are frozen.

    The backward pass then needs the input of the convolution only. In evaluation mode these are two
    operations, whatever is frozen: others compute the same, and with the normalisation in the
    kernel the last bits differ.

    Args:
        conv: A convolution, or what took its place.
        norm: The batch normalisation that follows it.
        x: N x C_in x H x W.

    Returns:
        N x C_out x H' x W'.
    """
    if conv.training and type(conv) in (nn.Conv2d, Conv2d) and isinstance(norm, BatchNorm2d):
        assert isinstance(conv, nn.Conv2d)
        if norm.frozen and not conv.weight.requires_grad:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            kernel = conv.weight * scale[:, None, None, None]
            folded: Tensor = conv._conv_forward(x, kernel, norm.bias - norm.running_mean * scale)
            return folded
    out: Tensor = norm(conv(x))
    return out


def batch_norms(module: nn.Module) -> Iterator[_BatchNorm]:
    """Yields all batch normalisations inside a module, in order."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            yield layer


def normalise_by(module: M, bn: Literal["batch", "source"]) -> M:
    """Chooses what the batch normalisations of a module that is trained normalise by, in place.

    Args:
        module: Any module. Nothing changes in one without batch normalisations.
        bn: ``batch``: they stay as they are; those that are not frozen take the images of each
            step, and their running statistics follow. ``source``: all take their running
            statistics, which stay as they are. Weights and biases may learn either way.

    Returns:
        The same module.
    """
    if bn == "source":
        for layer in batch_norms(module):
            _set_frozen(layer)
    return module


def freeze(module: M) -> M:
    """Freezes a module in place: no gradients, batch statistics as they are, and nothing random.

    What it makes of an image then depends on that image alone.

    Args:
        module: Any module; its layers that have modes become ones that can be frozen.

    Returns:
        The same module.
    """
    for child in module.modules():
        if _has_modes(child):
            _set_frozen(child)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def unfreeze(module: M) -> M:
    """Undoes :func:`freeze`: parameters get gradients, batch statistics move again."""
    for child in module.modules():
        if isinstance(child, Freezable):
            child.frozen = False
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module


def is_frozen(module: nn.Module) -> bool:
    """Returns whether a module has no gradients, and all its layers that have modes are frozen."""
    if any(parameter.requires_grad for parameter in module.parameters()):
        return False
    layers = list(module.modules())
    return all(
        layer.frozen if isinstance(layer, Freezable) else not _has_modes(layer) for layer in layers
    )


def synchronise(module: nn.Module, group: dist.ProcessGroup | None) -> None:
    """Lets all batch normalisations that are not frozen see the images of all processes.

    Args:
        module: It is changed in place.
        group: The processes; None for torch's default group.
    """

    def synced(name: str, layer: nn.BatchNorm2d) -> nn.BatchNorm2d:
        if isinstance(layer, Freezable) and layer.frozen:
            return layer
        if type(layer) not in (nn.BatchNorm2d, BatchNorm2d):
            raise UsageError(
                f"--sync-bn: {name} is a {type(layer).__name__}, which torch cannot synchronise;"
                " leave the option out"
            )
        twin = _twin(SyncedBatchNorm2d, layer)
        twin.process_group = group
        return twin

    replace(module, nn.BatchNorm2d, synced)


def _twin(kind: type[B], layer: nn.BatchNorm2d) -> B:
    """Returns a layer of another class with the same tensors."""
    twin = kind(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    for key, parameter in layer.named_parameters(recurse=False):
        setattr(twin, key, parameter)
    for key, buffer in layer.named_buffers(recurse=False):
        setattr(twin, key, buffer)
    return twin


def replace(module: nn.Module, kind: type[M], make: Callable[[str, M], nn.Module]) -> None:
    """Exchanges all layers of one kind inside a module, in place.

    Adapters, controllers and masks all enter a network this way.

    Args:
        module: The network or a part of it. The module itself is never exchanged.
        kind: The class of layers to exchange (subclasses too).
        make: Called with (dotted name, layer); returns what takes the layer's place,
            or the layer itself to leave it. The new layer may hold the old one.
    """
    found = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, kind)]
    for name, layer in found:
        if name:
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, make(name, layer))


class Conv2d(nn.Conv2d):
    """A convolution that drops unused pixels first if its kernel is 1x1 and its stride is not.

    With stride s, a 1x1 kernel reads every s-th row and column; on those alone, the same
    convolution has stride 1. oneDNN 3.12, which torch 2.14 ships, writes past the end of a
    buffer when it takes the weight's gradient of the strided form. That needs AVX-512, fewer
    than 16 input channels and channels-last memory order, and ends in a segmentation fault:

        conv = nn.Conv2d(8, 16, 1, stride=2).to(memory_format=torch.channels_last)
        for n in (128, 42, 128) * 20:
            x = torch.randn(n, 8, 72, 72).to(memory_format=torch.channels_last)
            conv(x).square().sum().backward()
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002 - torch's name
        strided_1x1 = self.kernel_size == (1, 1) and self.stride != (1, 1)
        if not strided_1x1 or self.padding not in ((0, 0), "valid"):
            whole: Tensor = super()._conv_forward(input, weight, bias)
            return whole
        down, across = self.stride
        # Slicing N x H x W x C keeps the gradient of the input in channels-last order.
        used = input.permute(0, 2, 3, 1)[:, ::down, ::across].permute(0, 3, 1, 2)
        return conv2d(used, weight, bias, groups=self.groups)


def initialise_convolutions(network: nn.Module) -> None:
    """Draws all convolutions of a network from N(0, 2 / (k^2 C_out)), in place."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class ExtendedConv2d(Conv2d):
    """A convolution with the tensors of another, to which a method adds its own.

    The base of convolutions with adapters, controllers and masks. ``weight`` and ``bias``
    keep their names, so that they are found in the source under the same names.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """Takes over a convolution.

        Args:
            conv: The convolution; its parameters become this one's, they are not copied.
        """
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            cast(tuple[int, int], conv.kernel_size),
            cast(tuple[int, int], conv.stride),
            cast(tuple[int, int] | str, conv.padding),
            cast(tuple[int, int], conv.dilation),
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,
            device="meta",  # the tensors come from the other
        )
        self.weight, self.bias = conv.weight, conv.bias


def frozen_names(network: nn.Module) -> set[str]:
    """Returns the names of all parameters without gradient and of frozen buffers."""
    # A tensor that has several names is frozen under each of them.
    parameters = network.named_parameters(remove_duplicate=False)
    names = {name for name, p in parameters if not p.requires_grad}
    for prefix, layer in network.named_modules(remove_duplicate=False):
        if isinstance(layer, Freezable) and layer.frozen:
            names |= {name for name, _ in layer.named_buffers(prefix, recurse=False)}
    return names
