"""One shard: an HDF5 file whose pixels a memory map can serve.

All data sets are contiguous and uncompressed: a reader needs HDF5 only to learn where they
begin, and several processes can write pixels in any order.
"""

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Literal

import h5py
import numpy as np
import numpy.typing as npt

from decathlon.common.errors import DataError, UnreadableError
from decathlon.common.oserrors import explained

FORMAT = 1
UNKNOWN = -1
"""Label of an image whose class is not known."""
RESIZE_BYTES = 64
LARGEST_ATTRIBUTE = 1 << 28
"""Bytes of an attribute: names of 100,000 classes, the longest of 512 characters."""
_CHUNK = 1 << 20
MOVE = "name another folder with --data"
MEND = "run 'decathlon verify', then 'decathlon prepare', which rebuilds what is damaged"
_COLUMNS = {
    "offset": np.int64,
    "height": np.uint16,
    "width": np.uint16,
    "label": np.int32,
    "image_id": np.int64,
    "crc32": np.uint32,
}
BOX = "box"
"""The data set of bounding boxes, which a shard need not have."""
_FAULTS = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError)
"""What h5py raises for files that are damaged or no shards."""

Int64 = npt.NDArray[np.int64]
Boxes = npt.NDArray[np.float32]
"""(n, 4): left, top, width and height of each box, in pixels."""


@dataclass(frozen=True)
class Header:
    """The attributes of a shard.

    Attributes:
        domain: Name of the domain.
        split: ``"train"``, ``"val"`` or ``"test"``.
        class_names: Name by label; ``""`` for a label that no category has.
        category_ids: Category id by label.
        annotations_sha256: Digest of the annotation file.
        resize: Library and version that resized images, ``""`` if none was resized.
    """

    domain: str
    split: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    annotations_sha256: str
    resize: str = ""


@dataclass(frozen=True)
class Columns:
    """What a shard holds of each image.

    Attributes:
        height: int64 (n,) in pixels.
        width: int64 (n,) in pixels.
        label: int64 (n,), -1 where not known.
        image_id: int64 (n,).
        crc32: int64 (n,), of each image's pixels.
        box: Bounding boxes in stored pixels, inside the images; None if the domain has none.
    """

    height: Int64
    width: Int64
    label: Int64
    image_id: Int64
    crc32: Int64
    box: Boxes | None = None

    @property
    def offset(self) -> Int64:
        """Where each image begins, in bytes from the start of the pixels."""
        sizes = self.size
        starts: Int64 = np.cumsum(sizes) - sizes
        return starts

    @property
    def size(self) -> Int64:
        """Bytes of each image's pixels."""
        sizes: Int64 = 3 * self.height * self.width
        return sizes


@dataclass(frozen=True)
class Shard:
    """An opened shard whose structure has been checked.

    Attributes:
        path: The file.
        header: Its attributes.
        columns: What it holds of each image.
        offset: int64 (n,), where each image begins in the pixels, in bytes.
        start: Where the pixels begin in the file, in bytes.
        size: Bytes of pixels.
        columns_at: Where each other data set begins in the file, in bytes.
    """

    path: Path
    header: Header
    columns: Columns
    offset: Int64
    start: int
    size: int
    columns_at: dict[str, int]

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def content(self) -> str:
        """SHA-256 of the images' checksums, labels and ids, and boxes if there are, in hex."""
        digest, columns = sha256(), self.columns
        for values in (columns.crc32, columns.label, columns.image_id, columns.box):
            if values is not None:
                digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def map(self, scattered: bool = False) -> npt.NDArray[np.uint8]:
        """Returns all pixels as a read-only memory map, uint8 (bytes,).

        Args:
            scattered: True to read only the accessed pages from the disk. Otherwise the system
                reads ahead, on some disks 8 MB.
        """
        with self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if scattered:
            mapped.madvise(mmap.MADV_RANDOM)
        # A plain array on the map: np.memmap makes every slice slower.
        return np.frombuffer(mapped, np.uint8, self.size, self.start)


def shard_names(split: str, count: int) -> list[str]:
    """Returns the file names of a split's shards."""
    if count == 1:
        return [f"{split}.h5"]
    return [f"{split}-{index:05d}-of-{count:05d}.h5" for index in range(count)]


def create(path: Path, header: Header, columns: Columns) -> int:
    """Writes a shard without its pixels, leaving room for them.

    Args:
        path: The file, replaced where it exists.
        header: Attributes.
        columns: What it holds of each image.

    Returns:
        Where the pixels begin in the file, in bytes.
    """
    total = int(columns.size.sum())
    with _in_memory(path) as draft, h5py.File(_new_file(draft)) as file:
        file.attrs["format_version"] = FORMAT
        file.attrs["category_ids"] = np.array(header.category_ids, np.int64)
        _set_text(file, "class_names", list(header.class_names))
        for name in ("domain", "split", "annotations_sha256"):
            _set_text(file, name, getattr(header, name))
        # With room for the value that is filled in after the last image.
        _set_text(file, "resize", header.resize, RESIZE_BYTES)
        for name, dtype in _COLUMNS.items():
            file.create_dataset(name, data=getattr(columns, name).astype(dtype))
        if columns.box is not None:
            file.create_dataset(BOX, data=columns.box)
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.CONTIGUOUS)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        layout.set_obj_track_times(False)
        space = h5py.h5s.create_simple((total,))
        pixels = h5py.h5d.create(file.id, b"pixels", h5py.h5t.NATIVE_UINT8, space, layout)
        return int(pixels.get_offset())


@contextmanager
def _in_memory(path: Path) -> Iterator[Path]:
    """Yields the path of a file in memory that is copied to ``path`` at the end.

    On a full disk HDF5 tries to write again when the process ends, and crashes with a
    segmentation fault. In memory the disk is never full, and the pixels, a hole in the file, take
    no room.
    """
    if not hasattr(os, "memfd_create"):  # not Linux
        yield path
        return
    with os.fdopen(os.memfd_create("shard"), "rb") as file:
        try:
            yield Path(f"/proc/self/fd/{file.fileno()}")
        except RuntimeError as error:  # HDF5 met a limit on the size of files, which holds here too
            raise OSError(errno.EFBIG, f"HDF5 cannot write: {error}", str(path)) from None
        with path.open("wb") as out:
            _copy(file, out)


def _copy(file: BinaryIO, out: BinaryIO) -> None:
    """Copies a file, leaving its holes out."""
    end, size = 0, os.fstat(file.fileno()).st_size
    while end < size:
        try:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
        except OSError:  # nothing follows but a hole
            break
        end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        for at in range(start, end, _CHUNK):
            out.seek(at)
            out.write(os.pread(file.fileno(), min(_CHUNK, end - at), at))
    out.truncate(size)


def _new_file(path: Path) -> h5py.h5f.FileID:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    # The default driver resolves links, which fails for a file in memory.
    access.set_fapl_stdio()
    access.set_file_locking(False, True)
    # Format 1.8 is the oldest that takes attributes of more than 64 kB.
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    # Without the time of day: equal data gives equal files.
    creation.set_obj_track_times(False)
    return h5py.h5f.create(bytes(path), h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access)


def _set_text(file: h5py.File, name: str, value: str | list[str], length: int = 1) -> None:
    """Sets an attribute to UTF-8 text of at least ``length`` bytes."""
    encoded = np.char.encode(np.array(value), "utf-8")
    length = max(length, encoded.dtype.itemsize)
    kind = h5py.string_dtype("utf-8", length)
    file.attrs.create(name, encoded.astype(f"S{length}"), dtype=kind)


def _attribute(file: h5py.File, name: str, kinds: str, ndim: int) -> Any:
    """Reads an attribute after checking its type and size."""
    found = h5py.h5a.open(file.id, name.encode())
    if found.dtype.kind not in kinds or len(found.shape) != ndim:
        raise ValueError(f"its attribute '{name}' is of another type")
    if found.get_storage_size() > LARGEST_ATTRIBUTE:
        raise ValueError(f"its attribute '{name}' is too large")
    return file.attrs[name]


def _text(file: h5py.File, name: str) -> str:
    return bytes(_attribute(file, name, "S", 0)).decode()


@contextmanager
def hdf5(path: Path, mode: Literal["r", "r+"] = "r") -> Iterator[h5py.File]:
    """Opens an HDF5 file without HDF5's own lock, which many network file systems refuse.

    HDF5 reads and writes through a Python file, which it does not lock. ``locking=False`` is not
    enough: the variable ``HDF5_USE_FILE_LOCKING``, which clusters set, overrides it.
    """
    with path.open("rb" if mode == "r" else "r+b") as raw, h5py.File(raw, mode) as file:
        yield file


def open_shard(path: Path) -> Shard:
    """Opens a shard and checks its structure, so that its pixels can be read safely.

    Raises:
        DataError: The file is missing, no shard, of another format version, or an
            image lies outside its pixels.
        UnreadableError: The system does not let us read it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise FileNotFoundError
        with hdf5(path) as file:
            return _read(path, file)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; run 'decathlon prepare' to build it again") from None
    except _FAULTS as error:
        # HDF5 reports what is wrong inside a file as an OSError that has no number.
        if isinstance(error, OSError) and error.errno:
            raise UnreadableError(explained(error, path, MOVE)) from None
        raise DataError(f"{path}: no readable shard ({str(error)[:200]}); {MEND}") from None


def _read(path: Path, file: h5py.File) -> Shard:
    version = _attribute(file, "format_version", "iu", 0)
    if version != FORMAT:
        raise DataError(
            f"{path}: has format version {version}, this program reads {FORMAT};"
            " prepare the data again with this version"
        )
    actual = path.stat().st_size
    read, columns_at = {}, {}
    for name, dtype in _COLUMNS.items():
        values, columns_at[name] = _data_set(file, name, dtype, actual)
        read[name] = values[:].astype(np.int64)
    if len({len(values) for values in read.values()}) != 1:
        raise ValueError("its data sets differ in length")
    box = _boxes(file, actual, read["height"], read["width"]) if BOX in file else None
    pixels, start = _data_set(file, "pixels", np.uint8, actual)
    size = len(pixels)
    offset = read.pop("offset")
    ends = offset + 3 * read["height"] * read["width"]
    wrong = np.flatnonzero((offset < 0) | (ends > size) | (ends <= offset))
    if len(wrong):
        raise ValueError(f"image {wrong[0]} lies outside its pixels")
    if size % 3 or (offset % 3).any():
        raise ValueError("its images do not begin on whole pixels")
    class_names = _attribute(file, "class_names", "S", 1)
    category_ids = _attribute(file, "category_ids", "iu", 1)
    if len(class_names) != len(category_ids):
        raise ValueError("its classes and categories differ in number")
    label = read["label"]
    foreign = np.flatnonzero((label < UNKNOWN) | (label >= len(class_names)))
    if len(foreign):
        raise ValueError(
            f"image {foreign[0]} has the label {label[foreign[0]]}, which no class has"
        )
    header = Header(
        domain=_text(file, "domain"),
        split=_text(file, "split"),
        class_names=tuple(bytes(name).decode() for name in class_names),
        category_ids=tuple(category_ids.tolist()),
        annotations_sha256=_text(file, "annotations_sha256"),
        resize=_text(file, "resize"),
    )
    return Shard(path, header, Columns(**read, box=box), offset, start, size, columns_at)


def _boxes(file: h5py.File, actual: int, height: Int64, width: Int64) -> Boxes:
    """Reads bounding boxes and checks that they lie inside their images."""
    box: Boxes = _data_set(file, BOX, np.float32, actual, ndim=2)[0][:]
    if box.shape != (len(height), 4):
        raise ValueError("its data sets differ in length")
    ends = box[:, :2] + box[:, 2:]
    # In single precision the ends may be off by a rounding. What is no number is not inside.
    inside = (box >= 0).all(1) & (box[:, 2:] > 0).all(1)
    inside &= (ends <= np.stack([width, height], 1) + 0.01).all(1)
    if not inside.all():
        raise ValueError(f"the box of image {inside.argmin()} lies outside it")
    return box


def _data_set(
    file: h5py.File, name: str, dtype: npt.DTypeLike, actual: int, ndim: int = 1
) -> tuple[h5py.Dataset, int]:
    """Returns a data set that is contiguous in the file itself, and its offset."""
    # HDF5 would follow a link to another file, and wait for a pipe.
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"'{name}' is a link to elsewhere")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.ndim != ndim or found.dtype != dtype:
        raise ValueError(f"'{name}' is of another type")
    start = found.id.get_offset()
    if found.chunks is not None or found.is_virtual or start is None:
        raise ValueError(f"'{name}' has another layout")
    if start + found.nbytes > actual:
        raise ValueError("the file is shorter than it says (truncated)")
    return found, int(start)
