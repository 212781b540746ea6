"""Says what a file is that should hold weights but does not, and how to get the right one."""

import json
import stat
import struct
from pathlib import Path

from decathlon.common.errors import DataError, UnreadableError
from decathlon.common.oserrors import explained

HEAD_BYTES = 512
MAX_HEADER = 100 * 1024 * 1024
"""The largest header that safetensors accepts."""
CONVERT = "convert it with 'decathlon import-weights'"
KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run 'git lfs pull'"),
    (b"PK\3\4", f"a zip file, such as torch.save writes (.pth, .pt); {CONVERT}"),
    (b"\x80\2", f"a pickle, such as torch.save wrote (.t7, .pth); {CONVERT}"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"\x89HDF", "an HDF5 file, not weights"),
    (b"\x89PNG", "a PNG image, not weights"),
    (b"\xff\xd8\xff", "a JPEG image, not weights"),
)


def check_safetensors(path: Path) -> None:
    """Checks that a file is readable and starts like a complete safetensors file.

    Raises:
        UnreadableError: The system denies reading it.
        DataError: It is missing or something else; the message says what.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{path}: is a folder; name the weights file in it")
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: is not a regular file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{path}: no such weights file; make one with 'decathlon pretrain' or"
            " 'decathlon import-weights'"
        ) from None
    except OSError as error:
        text = explained(error, path, "use another file", "cannot be read")
        raise UnreadableError(text) from None
    if (fault := _fault(head, size)) is not None:
        raise DataError(f"{path}: {fault}")


def _fault(head: bytes, size: int) -> str | None:
    """Returns why a file is no safetensors file; None if it starts like one."""
    if not size:
        return "is empty; copy or download it again"
    if len(head) >= 9 and head[8:9] == b"{":
        (length,) = struct.unpack("<Q", head[:8])
        if length + 8 <= size and length <= MAX_HEADER:
            return None
        if length <= MAX_HEADER:
            return (
                f"is cut short: its header alone has {length} bytes, the file {size};"
                " copy or download it again"
            )
    for start, kind in KINDS:
        if head.startswith(start):
            return f"is {kind}"
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n").lower()
    if text.startswith(("<!doctype", "<html", "<head", "<?xml", "<body")):
        return "is a web page, perhaps a login or an error; download the file itself"
    if text.startswith(("{", "[")) and _is_text(head):
        return "is JSON text, not weights; download the file itself"
    what = "is text, not weights" if _is_text(head) else "is not a safetensors file"
    return (
        f"{what}; weights come from 'decathlon pretrain', those of the authors' codes"
        " (.t7, .pth) from 'decathlon import-weights'"
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "strict" if len(head) < HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        return False
    return text.isprintable() or all(c.isprintable() or c in "\t\r\n" for c in text)


def truncation(path: Path) -> str | None:
    """Returns by how much a safetensors file with a complete header is cut short; None if not."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = file.read(length)
    try:
        tensors = [value for name, value in json.loads(header).items() if name != "__metadata__"]
        ends = [int(tensor["data_offsets"][1]) for tensor in tensors]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
    wanted, size = 8 + length + max(ends, default=0), path.stat().st_size
    if size >= wanted:
        return None
    return f"is cut short: it has {size} of {wanted} bytes; copy or download it again"
