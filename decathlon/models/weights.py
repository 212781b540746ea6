"""Weights on disk: safetensors with a JSON header, and source networks made of them.

Masks (bool tensors) take one bit a weight on disk. Files have no time stamp, so equal weights
are equal files.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from decathlon.common.errors import (
    DataError,
    DecathlonError,
    UnreadableError,
    UsageError,
    fault_lines,
)
from decathlon.common.files import replacing, sha256
from decathlon.common.oserrors import explained
from decathlon.common.text import encodable
from decathlon.models.adapters import Kind
from decathlon.models.file_kinds import check_safetensors, truncation
from decathlon.models.networks import Architecture
from decathlon.models.residual import ResidualNetwork
from decathlon.models.tensor_names import HEAD, RUNNING
from decathlon.models.tied import distinct, tie, ties

HEADER = "decathlon"
FORMAT = 1
SUFFIX = ".safetensors"


def write_weights(path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors and a JSON header to a safetensors file, atomically.

    Args:
        path: The file.
        header: JSON values that describe the tensors.
        tensors: Tensors by name; bool tensors are stored as packed bits, and tensors that share
            memory are stored once.
    """
    shapes: dict[str, list[int]] = {}
    plain: dict[str, Tensor] = {}
    tied = ties(tensors)
    for name, tensor in tensors.items():
        if name in tied:
            continue
        value = tensor.detach().cpu().contiguous()
        if value.dtype == torch.bool:
            shapes[name] = list(value.shape)
            value = torch.from_numpy(np.packbits(value.numpy().reshape(-1)))
        plain[name] = value.clone()
    known = {"format": FORMAT, **header, "bits": shapes, **({"tied": tied} if tied else {})}
    text = json.dumps(known, sort_keys=True)
    with replacing(path) as part:
        try:
            save_file(plain, part, metadata={HEADER: text})
        except SafetensorError as error:
            raise _of_the_system(error, path) from None


def _of_the_system(error: SafetensorError, path: Path) -> Exception:
    """Returns the OSError that a safetensors error describes in its text, or the error itself."""
    found = re.search(r"os error (\d+)", str(error))
    if found is None:
        return error
    number = int(found[1])
    return OSError(number, os.strerror(number), str(path))


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads what :func:`write_weights` wrote.

    Returns:
        (header, tensors by name).

    Raises:
        UnreadableError: The system denies reading the file.
        DataError: The file is missing, damaged, or not one of ours, or has NaN, infinite or
            impossible numbers.
    """
    header, tensors = _read(path, tensors=True)
    check_sound(path, tensors)
    try:
        for name, shape in header.get("bits", {}).items():
            count = int(np.prod(shape))
            bits = np.unpackbits(tensors[name].numpy(), count=count).astype(bool)
            tensors[name] = torch.from_numpy(bits).reshape(shape)
        tie(tensors, header.get("tied", {}))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    return header, tensors


def check_sound(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Checks that all numbers are finite and no variance is negative.

    Args:
        path: Their file, for the message.
        tensors: By name.

    Raises:
        DataError: One is not; names the first such tensor.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        # 8-bit types have no aminmax. If there is a NaN, it is the minimum.
        low, high = torch.aminmax(tensor.float() if tensor.element_size() == 1 else tensor)
        if not torch.isfinite(high - low):
            count = int((~torch.isfinite(tensor)).sum())
            if count:
                raise DataError(
                    f"{path}: {name} has {count} of {tensor.numel()} numbers that are NaN or"
                    " infinite; use weights of a training that did not diverge"
                )
        if name.endswith("running_var") and low < 0:
            raise DataError(
                f"{path}: {name} is a variance and has the negative value {float(low):g}; the file"
                " is damaged, or was not made by a training"
            )


def read_header(path: Path) -> dict[str, Any]:
    """Reads the header that :func:`write_weights` wrote, and no tensor.

    Raises:
        UnreadableError: The system denies reading the file.
        DataError: The file is missing, damaged, or not one of ours.
    """
    return _read(path, tensors=False)[0]


def written_by_us(path: Path) -> dict[str, Any] | None:
    """Returns the header of a weights file that decathlon wrote; None for any other file.

    Raises:
        UnreadableError: The system denies reading the file.
    """
    try:
        return read_header(path)
    except UnreadableError:
        raise
    except DataError:
        return None


def check_name(path: Path) -> None:
    """Checks the name of a weights file before it is written.

    Raises:
        UsageError: It does not end in ``.safetensors``, or is the name of a folder.
    """
    if path.suffix != SUFFIX or path.stem == SUFFIX:
        raise UsageError(f"{path}: weights are written to a file whose name ends in {SUFFIX}")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is not a regular file; name one to write the weights to")


def read_safetensors(path: Path, tensors: bool = True) -> tuple[Any, dict[str, Tensor]]:
    """Reads a safetensors file of anyone.

    The library checks that all tensors lie within the file, so memory is bounded by its size.

    Args:
        path: The file.
        tensors: Whether to read them.

    Returns:
        (the header if :func:`write_weights` wrote one, else None; tensors by name).

    Raises:
        UnreadableError: The system denies reading the file.
        DataError: The file is missing or damaged.
    """
    check_safetensors(path)
    try:
        with path.open("rb") as raw, safe_open(_place(path, raw), framework="pt") as file:
            text = (file.metadata() or {}).get(HEADER)
            header = json.loads(text) if text else None
            names = file.keys() if tensors else ()
            return header, {name: file.get_tensor(name) for name in names}
    except OSError as error:
        text = explained(error, path, "use another file", "cannot be read")
        raise UnreadableError(text) from None
    except (SafetensorError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from None


def _read(path: Path, tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    header, found = read_safetensors(path, tensors)
    if not isinstance(header, dict) or "kind" not in header:
        raise DataError(
            f"{path}: safetensors, but not written by decathlon; sources come from"
            " 'decathlon pretrain' or 'decathlon import-weights'"
        )
    if header.get("format") != FORMAT:
        raise DataError(
            f"{path}: weights format {header.get('format')!r}, this version reads {FORMAT}"
        )
    return header, found


@contextmanager
def naming(path: Path, remedy: str = "") -> Iterator[None]:
    """Turns errors of a block that interprets a file's header into ones that name the file.

    Args:
        path: The file.
        remedy: Advice, such as ``"; import it again"``.

    Raises:
        DataError: The header lacks something or makes no sense.
    """
    try:
        yield
    except ValidationError as error:
        problems = fault_lines(error.errors(include_url=False), "header")
        raise DataError(f"{path}: its header is damaged:\n{problems}") from None
    except DecathlonError as error:
        raise DataError(f"{path}: {error}") from None
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: its header is damaged ({error}){remedy}") from None


def _place(path: Path, raw: BinaryIO) -> str:
    """Returns a UTF-8 path of an open file: safetensors accepts no other."""
    text = str(path)
    return text if text == encodable(text) else f"/dev/fd/{raw.fileno()}"


def _damaged(path: Path, error: Exception) -> DataError:
    said = truncation(path) or f"is a damaged safetensors file ({error}); copy or download it again"
    return DataError(f"{path}: {said}")


@dataclass(frozen=True)
class Source:
    """A network pretrained on the source domain.

    Attributes:
        architecture: What the network is built of.
        num_classes: Classes of its own head.
        tensors: Its state, head included; None for a source without weights.
        sha256: Digest of the weights file.
        path: The weights file.
        header: The file's header.
    """

    architecture: Architecture
    num_classes: int
    tensors: dict[str, Tensor] | None = None
    sha256: str | None = None
    path: Path | None = None
    header: Mapping[str, Any] | None = None

    def network(self, num_classes: int | None = None) -> ResidualNetwork:
        """Builds the network with the source's weights.

        Args:
            num_classes: Classes of a newly initialised head; None keeps the source's head.

        Returns:
            A network that shares no tensor with the source.
        """
        network = self.architecture.build(self.num_classes)
        if self.tensors is not None:
            network.load_state_dict(self.tensors)
        if num_classes is not None:
            network.new_head(num_classes)
        return network

    def count_bits(self) -> int:
        """Returns the bits of all stored parameters without the head."""
        state = distinct(self.network().state_dict())
        return sum(bits_of(t) for name, t in state.items() if counts(name))

    def unit_bits(self, width: float | None = None) -> int:
        """Returns the bits of a plain network of this width (or another), without a head."""
        own = self.architecture
        plain = Architecture(own.name, own.width if width is None else width, own.blocks)
        return Source(plain, 1).count_bits()

    def expect_adapters(self, what: str, *kinds: Kind) -> None:
        """Checks that a method can start from this network.

        Args:
            what: The method's name, for the message.
            kinds: Kinds of adapters that it accepts; ``none`` for a plain network.

        Raises:
            DataError: The network has another kind.
        """
        if self.architecture.adapters not in kinds:
            raise DataError(
                f"{self.path}: the source network has {self.architecture.adapters} adapters;"
                f" {what} starts from one with {' or '.join(kinds)}:"
                " make it with 'decathlon pretrain --method'"
            )


def counts(name: str) -> bool:
    """Returns whether a stored tensor counts as a parameter: no head, no running statistics."""
    return not name.startswith(HEAD) and not name.endswith(RUNNING)


def bits_of(tensor: Tensor) -> int:
    """Returns the bits of a tensor on disk; a bool takes one."""
    return tensor.numel() * (1 if tensor.dtype == torch.bool else 8 * tensor.element_size())


def write_source(
    path: Path, network: ResidualNetwork, architecture: Architecture, header: Mapping[str, Any]
) -> None:
    """Writes a source network.

    Args:
        path: The file to write.
        network: The trained network, head included.
        architecture: What it was built from.
        header: Further facts (recipe, digests of the data).
    """
    facts = {
        **header,
        "kind": "source",
        "architecture": architecture.as_json(),
        "num_classes": network.head.out_features,
    }
    write_weights(path, facts, network.state_dict())


def read_source(path: Path) -> Source:
    """Reads a source network.

    Raises:
        DataError: The file is missing, damaged, no source, or does not fit the network
            in its header.
    """
    header, tensors = read_weights(path)
    if header["kind"] != "source":
        method = header.get("method")
        what = f"the weights of method '{method}'" if method else f"a {header['kind']}"
        raise DataError(
            f"{path}: holds {what}, not a source network; make one with 'decathlon pretrain'"
        )
    with naming(path):
        architecture = Architecture.from_json(header["architecture"])
        if (num_classes := int(header["num_classes"])) < 1:
            raise ValueError(f"it has {num_classes} classes")
        with torch.device("meta"):  # no memory, whatever size the header claims
            network = architecture.build(num_classes)
    check_fit(path, network.state_dict(), tensors)
    return Source(architecture, num_classes, tensors, sha256(path), path, header)


def check_fit(path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Checks that a file's tensors have the names, shapes and types of a network's.

    Raises:
        DataError: One is missing, unknown, or of another shape or type.
    """
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has {unknown[0]} in excess"
        raise DataError(f"{path}: does not hold the network it names: it {what}")
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape:
            raise DataError(
                f"{path}: {name} has shape {list(found[name].shape)},"
                f" the network it names has {list(tensor.shape)}"
            )
        # Integers are counters of batches, which do not affect what a network computes.
        if tensor.is_floating_point() and tensor.dtype != found[name].dtype:
            raise DataError(
                f"{path}: {name} has numbers of type {found[name].dtype}, the network it names has"
                f" {tensor.dtype}"
            )
