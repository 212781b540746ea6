"""Reads files that torch saved, old and new, without executing anything in them.

Until version 1.5 torch wrote several pickles followed by raw numbers; since then it writes a zip
with one pickle, and one member for each storage of numbers.
"""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from decathlon.common.errors import DataError
from decathlon.common.oserrors import explained
from decathlon.models.reference.names import ALLOWED, STORAGES, Storage, StoredTensor, is_size
from decathlon.models.reference.pickles import MAX_BYTES, CheckpointError, Name, read_pickle, shown

MAGIC = 0x1950A86A20F9469CFC6C
"""First object of the old format."""

PROTOCOL = 1001
"""Its version, the second object; there is no other."""

_CHUNK = 1 << 20


class Checkpoint:
    """The content of a file.

    Attributes:
        root: The saved object: plain values, ``StoredTensor`` and ``Described``.
    """

    def __init__(self, root: Any, storages: dict[str, Tensor]) -> None:
        self.root, self._storages = root, storages

    def tensor(self, stored: StoredTensor) -> Tensor:
        """Returns a tensor of the file; tensors of the same storage share memory."""
        numbers = self._storages[stored.storage.key]
        start = stored.storage.start + stored.offset
        return torch.as_strided(numbers, stored.shape, stored.strides, start)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a file that torch saved.

    Memory is bounded by the file's size and the limits of
    :mod:`decathlon.models.reference.pickles`.

    Args:
        path: A file of either format, from a little-endian machine.

    Raises:
        DataError: The file is missing or damaged, or names anything that is not on
            the list in :mod:`decathlon.models.reference.names`.
    """
    if not path.is_file():
        fault = "not a regular file" if path.exists() else "no such file"
        raise DataError(f"{path}: {fault}; name a .t7 or .pth file that torch saved")
    try:
        with _Bounded(io.FileIO(path)) as file:
            head = file.read(4)
            file.seek(0)
            root, storages = (_read_zip if head == b"PK\3\4" else _read_stream)(file)
    except CheckpointError as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(explained(error, path, "name another file", "cannot be read")) from None
    return Checkpoint(root, storages)


class _Ledger:
    """The storages that a pickle refers to, by key.

    A file that declares more bytes of numbers than it is long is refused before any memory is
    allocated.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.total = limit, 0
        self.storages: dict[str, Storage] = {}

    def persistent(self, value: tuple[Any, ...]) -> Any:
        """Resolves a persistent id: a storage, or a class with its source text."""
        if len(value) == 4 and value[0] == "module" and isinstance(value[1], Name):
            return value[1]
        if len(value) not in (5, 6) or value[0] != "storage":
            raise CheckpointError("is refused: its pickle refers to something unknown outside")
        kind, key, _, size = value[1:5]
        if not (isinstance(kind, Name) and isinstance(key, str) and is_size(size)):
            raise CheckpointError("is damaged: a storage is not described as one")
        dtype = STORAGES.get(kind.text.rpartition(".")[2])
        if dtype is None:
            raise CheckpointError(f"is damaged: a storage is of the type {shown(kind)}")
        root = self._declare(Storage(key, dtype, 0, size))
        return self._view(root, value[5]) if len(value) == 6 and value[5] is not None else root

    def _declare(self, storage: Storage) -> Storage:
        known = self.storages.setdefault(storage.key, storage)
        if known != storage:
            raise CheckpointError(f"is damaged: storage {shown(storage.key)} is described twice")
        if known is storage:
            self.total += storage.num_bytes
            if self.total > self.limit:
                raise CheckpointError(
                    f"is refused: it declares {self.total} bytes of numbers or more, and is"
                    f" {self.limit} bytes long; fetch it again if a download was cut short"
                )
        return known

    def _view(self, root: Storage, view: Any) -> Storage:
        if not (isinstance(view, tuple) and len(view) == 3 and is_size(view[1])):
            raise CheckpointError("is damaged: a part of a storage is not described as one")
        _, start, size = view
        if not is_size(size) or start + size > root.size:
            raise CheckpointError("is damaged: a part of a storage lies outside it")
        return Storage(root.key, root.dtype, start, size)


def _numbers(file: IO[bytes], storage: Storage) -> Tensor:
    """Reads a storage's numbers; one-dimensional."""
    data = bytearray()
    while len(data) < storage.num_bytes:
        chunk = file.read(min(_CHUNK, storage.num_bytes - len(data)))
        if not chunk:
            raise CheckpointError("is truncated: its numbers end early; fetch it again")
        data += chunk
    if not data:
        return torch.empty(0, dtype=storage.dtype)
    return torch.frombuffer(data, dtype=storage.dtype)


def _read_stream(file: io.BufferedReader) -> tuple[Any, dict[str, Tensor]]:
    """Reads the old format: magic, version, facts, object, keys; then each storage."""
    size = os.fstat(file.fileno()).st_size
    ledger = _Ledger(size)
    head = io.BytesIO(file.read(min(size, MAX_BYTES)))
    try:
        magic = read_pickle(head, {})
    except CheckpointError:
        magic = None
    if magic != MAGIC or isinstance(magic, bool):
        raise CheckpointError(
            "is not a file that torch saved; reference checkpoints are .t7 or .pth files of"
            " the residual adapters' and SpotTune's codes"
        )
    version, facts = read_pickle(head, {}), read_pickle(head, {})
    if version != PROTOCOL or not isinstance(facts, dict) or not facts.get("little_endian", True):
        raise CheckpointError("is of an unknown version of torch's format, or of another machine")
    root = read_pickle(head, ALLOWED, ledger.persistent)
    keys = read_pickle(head, {})
    named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not named or sorted(keys) != sorted(ledger.storages):
        raise CheckpointError("is damaged: the storages it has are not those it describes")
    file.seek(head.tell())
    storages = {}
    for key in keys:
        storage = ledger.storages[key]
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise CheckpointError(f"is damaged: storage {shown(key)} has not the declared size")
        storages[key] = _numbers(file, storage)
    return root, storages


class _Bounded(io.BufferedReader):
    """A file that refuses reads of very large pieces.

    zipfile reads a directory in one piece, and it becomes many times as large in memory.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        rest = max(0, os.fstat(self.fileno()).st_size - self.tell())
        wanted = rest if size is None or size < 0 else min(size, rest)
        if wanted > MAX_BYTES:
            raise CheckpointError("is refused: its zip has a directory of enormous size")
        return super().read(wanted)


@contextmanager
def _zip_errors() -> Iterator[None]:
    """Turns zipfile's errors about a damaged file into ours."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"is a damaged zip ({shown(str(error))}); fetch it again") from None


class _Members:
    """The members of a zip that torch saved, all in one folder."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.infos = {info.filename: info for info in archive.infolist()}
        found = [name for name in self.infos if name.endswith("/data.pkl")]
        if len(found) != 1 or found[0].count("/") != 1:
            raise CheckpointError("is a zip, but not one that torch saved")
        self.folder = found[0].removesuffix("data.pkl")

    def has(self, name: str) -> bool:
        return self.folder + name in self.infos

    def open(self, name: str, limit: int) -> IO[bytes]:
        """Opens a member of at most ``limit`` bytes; torch never compresses them."""
        if not self.has(name):
            raise CheckpointError(f"is damaged: it lacks its member {shown(name)}")
        info = self.infos[self.folder + name]
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
            raise CheckpointError(f"is refused: its member {shown(name)} is too large")
        return self.archive.open(info)


def _read_zip(file: io.BufferedReader) -> tuple[Any, dict[str, Tensor]]:
    """Reads the new format: ``NAME/data.pkl`` and ``NAME/data/KEY`` for each storage."""
    ledger = _Ledger(os.fstat(file.fileno()).st_size)
    with _zip_errors(), zipfile.ZipFile(file) as archive:
        members = _Members(archive)
        if members.has("byteorder") and members.open("byteorder", 16).read() != b"little":
            raise CheckpointError("is of a machine with another byte order")
        pickled = io.BytesIO(members.open("data.pkl", MAX_BYTES).read())
        root = read_pickle(pickled, ALLOWED, ledger.persistent)
        storages = {}
        for key, storage in ledger.storages.items():
            with members.open(f"data/{key}", storage.num_bytes) as numbers:
                storages[key] = _numbers(numbers, storage)
    return root, storages
