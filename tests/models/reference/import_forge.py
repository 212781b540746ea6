"""Makes checkpoints as the authors' codes do, with torch of today and as torch of 2018 did."""

import contextlib
import copyreg
import io
import pickle
import struct
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from decathlon.models.reference.names import MODULES

KEPT_2018 = {
    "training",
    "_parameters",
    "_buffers",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_pre_hooks",
    "_modules",
}
"""What a module of 2018 had of the private attributes that today's have."""

NEW_SINCE = {"padding_mode", "divisor_override", "device_type", "num_batches_tracked"}
"""Public ones that did not exist."""


@contextlib.contextmanager
def authors() -> Iterator[dict[str, type[nn.Module]]]:
    """Makes the authors' classes, without behaviour, importable while the block lasts."""
    classes: dict[str, type[nn.Module]] = {}
    for module in ("models", "spottune_models", "agent_net"):
        made = types.ModuleType(module)
        for name in MODULES[module]:
            kind = type(name, (nn.Module,), {"__module__": module})
            setattr(made, name, kind)
            classes[f"{module}.{name}"] = kind
        assert module not in sys.modules
        sys.modules[module] = made
    try:
        yield classes
    finally:
        for module in ("models", "spottune_models", "agent_net"):
            del sys.modules[module]


def tree(kind: type[nn.Module], children: dict[str, nn.Module], **attributes: Any) -> nn.Module:
    """Makes a module of a class without behaviour."""
    module = kind()
    for name, child in children.items():
        module.add_module(name, child)
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """Gives all tensors, running statistics too, values that no default has."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        else:
            scale = 1 / max(tensor[0].numel(), 4) ** 0.5
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale)
    return network.eval()


class Forge:
    """Builds the authors' networks of random weights."""

    def __init__(self, classes: dict[str, type[nn.Module]]) -> None:
        self.classes = classes

    def residual_adapters(
        self,
        mode: str = "bn",
        channels: int = 8,
        classes: tuple[int, ...] = (20,),
        blocks: tuple[int, ...] = (4, 4, 4),
        proj: str = "11",
        seed: int = 0,
    ) -> nn.Module:
        """A network of srebuffi/residual_adapters; ``mode`` bn, series or parallel."""
        tasks = len(classes)
        kinds = self.classes

        def adapted(channels_in: int, channels_out: int, stride: int, use: bool) -> nn.Module:
            def norms() -> nn.Module:
                return nn.ModuleList(nn.BatchNorm2d(channels_out) for _ in range(tasks))

            children: dict[str, nn.Module] = {"conv": conv3x3(channels_in, channels_out, stride)}
            if mode == "series" and use:
                children["bns"] = nn.ModuleList(
                    nn.Sequential(
                        tree(
                            kinds["models.conv1x1"],
                            {
                                "conv": nn.Sequential(
                                    nn.BatchNorm2d(channels_out),
                                    nn.Conv2d(channels_out, channels_out, 1, bias=False),
                                )
                            },
                        ),
                        nn.BatchNorm2d(channels_out),
                    )
                    for _ in range(tasks)
                )
            elif mode == "parallel" and use:
                children["parallel_conv"] = nn.ModuleList(
                    tree(
                        kinds["models.conv1x1"],
                        {"conv": nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)},
                    )
                    for _ in range(tasks)
                )
                children["bns"] = norms()
            else:
                children["bns"] = norms()
            return tree(kinds["models.conv_task"], children, is_proj=int(use), second=0)

        def block(channels_in: int, channels_out: int, first: bool) -> nn.Module:
            children = {
                "conv1": adapted(channels_in, channels_out, 1 + first, proj[0] == "1"),
                "conv2": nn.Sequential(
                    nn.ReLU(True), adapted(channels_out, channels_out, 1, proj[1] == "1")
                ),
            }
            if first:
                children["avgpool"] = nn.AvgPool2d(2)
            return tree(kinds["models.BasicBlock"], children, shortcut=int(first))

        children = {"pre_layers_conv": adapted(3, channels, 1, True)}
        for index, count in enumerate(blocks):
            layers = [block(channels << index, channels << (index + 1), True)]
            layers += [
                block(channels << (index + 1), channels << (index + 1), False)
                for _ in range(count - 1)
            ]
            children[f"layer{index + 1}"] = nn.Sequential(*layers)
        last = channels << len(blocks)
        children["end_bns"] = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(last), nn.ReLU(True)) for _ in range(tasks)
        )
        children["avgpool"] = nn.AdaptiveAvgPool2d(1)
        children["linears"] = nn.ModuleList(nn.Linear(last, count) for count in classes)
        return randomised(tree(kinds["models.ResNet"], children, in_planes=last), seed)

    def routed(
        self, module: str, channels: int, classes: int, blocks: tuple[int, ...], seed: int = 0
    ) -> nn.Module:
        """SpotTune's network (``spottune_models``) or policy (``agent_net``)."""
        kinds = {name: self.classes[f"{module}.{name}"] for name in MODULES[module]}

        def block(channels_in: int, channels_out: int, stride: int) -> nn.Module:
            children = {
                "conv1": conv3x3(channels_in, channels_out, stride),
                "bn1": nn.BatchNorm2d(channels_out),
                "conv2": nn.Sequential(nn.ReLU(True), conv3x3(channels_out, channels_out)),
                "bn2": nn.BatchNorm2d(channels_out),
            }
            return tree(kinds["BasicBlock"], children)

        def path(channels_in: int) -> tuple[nn.Module, nn.Module]:
            made, down = [], []
            for index, count in enumerate(blocks):
                out = channels << (index + 1)
                row = [block(channels_in, out, 2)]
                row += [block(out, out, 1) for _ in range(count - 1)]
                made.append(nn.ModuleList(row))
                down.append(tree(kinds["DownsampleB"], {"avg": nn.AvgPool2d(2)}))
                channels_in = out
            return nn.ModuleList(made), nn.ModuleList(down)

        last = channels << len(blocks)
        children = {
            "conv1": conv3x3(3, channels),
            "bn1": nn.BatchNorm2d(channels),
            "relu": nn.ReLU(),
        }
        children["blocks"], children["ds"] = path(channels)
        # The released policy network's unused copy begins with the wrong number of channels.
        unused = last if module == "agent_net" else channels
        children["parallel_blocks"], children["parallel_ds"] = path(unused)
        children["bn2"] = nn.Sequential(nn.BatchNorm2d(last), nn.ReLU(True))
        children["avgpool"] = nn.AdaptiveAvgPool2d(1)
        children["linear"] = nn.Linear(last, classes)
        network = tree(kinds["ResNet"], children, in_planes=last, layer_config=list(blocks))
        return randomised(network, seed)


class Global:
    """A name to be written into a pickle as it is, whether it exists or not."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        raise AssertionError("only its name is written")


class _Backend:
    """Stands for the ``_backend`` of modules before torch 1.0."""


class _StorageOf:
    def __init__(self, tensor: torch.Tensor, start: int | None = None) -> None:
        self.tensor, self.start = tensor, start


class Pickler2018(pickle._Pickler):
    """Writes what Python 2.7 and torch 0.3 or 0.4 wrote."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file: io.BytesIO, *, cuda: bool, old_parameters: bool) -> None:
        super().__init__(file, protocol=2)
        self.cuda, self.old_parameters = cuda, old_parameters
        self.storages: dict[str, torch.Tensor] = {}
        self.sources: set[type] = set()

    def save_text(self, text: str) -> None:
        raw = text.encode("latin1")
        short = len(raw) < 256
        self.write(b"U" + bytes([len(raw)]) if short else b"T" + struct.pack("<i", len(raw)))
        self.write(raw)
        self.memoize(text)

    def save_raw(self, raw: bytes) -> None:
        self.write(b"U" + bytes([len(raw)]) + raw)
        self.memoize(raw)

    def save_name(self, name: Global) -> None:
        self.write(f"c{name.module}\n{name.name}\n".encode())
        self.memoize(name)

    dispatch[str], dispatch[bytes], dispatch[Global] = save_text, save_raw, save_name

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, type) and issubclass(value, nn.Module) and value not in self.sources:
            self.sources.add(value)
            return ("module", value, f"{value.__module__}.py", f"class {value.__name__}:\n" * 40)
        if isinstance(value, _StorageOf):
            flat = value.tensor
            key = str(94000000000000 + flat.data_ptr() % 10**12)
            self.storages[key] = flat
            kind = {torch.float32: "FloatStorage", torch.int64: "LongStorage"}[flat.dtype]
            module, place = ("torch.cuda", "cuda:0") if self.cuda else ("torch", "cpu")
            view = (
                None if value.start is None else (f"{key}9", value.start, len(flat) - value.start)
            )
            return ("storage", Global(module, kind), key, place, len(flat), view)
        return None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            return copyreg.__newobj__, (type(value),), self._state(value)
        if isinstance(value, nn.Parameter) and self.old_parameters:
            state = (value.requires_grad, False, OrderedDict())
            return Global("torch.nn.parameter", "Parameter"), (value.data,), state
        if isinstance(value, nn.Parameter):
            rebuild = Global("torch._utils", "_rebuild_parameter")
            return rebuild, (value.data, value.requires_grad, OrderedDict())
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, OrderedDict):
            return OrderedDict, ([[key, item] for key, item in value.items()],)
        if isinstance(value, _Backend):
            return Global("torch.nn.backends.thnn", "_get_thnn_function_backend"), ()
        if isinstance(value, np.float64):
            kind = (Global("numpy", "dtype"), ("f8", 0, 1))
            return Global("numpy.core.multiarray", "scalar"), (_Made(*kind), value.tobytes())
        if isinstance(value, _Made):
            return value.name, value.arguments, (3, "<", None, None, None, -1, -1, 0)
        return NotImplemented

    def _tensor(self, value: torch.Tensor) -> Any:
        """Every third tensor is a part of a longer storage, as slices of others are."""
        flat = value.detach().reshape(-1)
        start = None
        if len(self.storages) % 3 == 0:
            flat, start = torch.cat([torch.full((5,), 9).to(flat.dtype), flat]), 5
        arguments = (_StorageOf(flat, start), 0, tuple(value.shape), value.contiguous().stride())
        return Global("torch._utils", "_rebuild_tensor"), arguments

    def _state(self, module: nn.Module) -> dict[str, Any]:
        state = {
            name: value
            for name, value in module.__dict__.items()
            if (not name.startswith("_") or name in KEPT_2018) and name not in NEW_SINCE
        }
        state["_buffers"] = OrderedDict(
            (name, buffer)
            for name, buffer in module._buffers.items()
            if name not in NEW_SINCE and buffer is not None
        )
        for name in ("_parameters", "_modules", "_forward_hooks", "_backward_hooks"):
            state[name] = OrderedDict(state[name])
        state["_backend"] = _Backend()
        return state


class _Made:
    def __init__(self, name: Global, arguments: tuple[Any, ...]) -> None:
        self.name, self.arguments = name, arguments


def save_2018(value: Any, path: Path, *, cuda: bool = True, old_parameters: bool = True) -> None:
    """Writes a file as torch 0.3 (``old_parameters``) or 0.4 did under Python 2.7."""
    out = io.BytesIO()

    def dump(item: Any) -> Pickler2018:
        pickler = Pickler2018(out, cuda=cuda, old_parameters=old_parameters)
        pickler.dump(item)
        return pickler

    dump(0x1950A86A20F9469CFC6C)
    dump(1001)
    sizes = {"int": 4, "long": 4, "short": 2}
    dump({"protocol_version": 1001, "type_sizes": sizes, "little_endian": True})
    storages = dump(value).storages
    dump(sorted(storages))
    for key in sorted(storages):
        out.write(struct.pack("<q", len(storages[key])) + storages[key].numpy().tobytes())
    path.write_bytes(out.getvalue())
