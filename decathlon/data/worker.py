"""The process that decodes: reads batches of image files, writes their pixels in place.

It runs as ``python -m decathlon.data.worker`` and speaks a small protocol of its own
over standard input and output (a length, a JSON header, the image files), so that
nothing is pickled and a decoder that crashes takes no other process with it.
"""

import json
import os
import signal
import struct
import zlib
from typing import Any

import numpy as np

from decathlon.data.decode import ImageError, decode, resized

LENGTHS = struct.Struct("<QQ")
"""Bytes of the header and bytes of the image files that follow."""


class Writer:
    """Decodes batches and keeps the files open that it writes to."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}

    def work(self, header: dict[str, Any], data: bytes | memoryview) -> dict[str, Any]:
        """Decodes one batch and writes each image's pixels to its place.

        Args:
            header: ``limit`` (pixels), ``files`` (paths) and ``images``, a list of
                (position in files, offset in that file, height, width, bytes).
            data: The image files, one after the other.

        Returns:
            ``{"crc32": [...]}``, or ``{"image": k, "error": text}`` where image k
            cannot be taken, or ``{"errno": n, "error": text}`` where writing failed.
        """
        found: list[int] = []
        view, at = memoryview(data), 0
        for file, offset, height, width, size in header["images"]:
            try:
                pixels = decode(bytes(view[at : at + size]), header["limit"])
            except ImageError as error:
                return {"image": len(found), "error": str(error)}
            raw = np.ascontiguousarray(resized(pixels, height, width)).data.cast("B")
            try:
                self._write(header["files"][file], raw, offset)
            except OSError as error:
                return {"errno": error.errno or 0, "error": str(error)}
            found.append(zlib.crc32(raw))
            at += size
        return {"crc32": found}

    def _write(self, path: str, data: memoryview, offset: int) -> None:
        if path not in self._files:
            if len(self._files) >= 32:
                self.close()
            self._files[path] = os.open(path, os.O_WRONLY)
        while len(data):
            written = os.pwrite(self._files[path], data, offset)
            data, offset = data[written:], offset + written

    def close(self) -> None:
        """Closes all files."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()


def _exactly(file: int, size: int) -> bytes:
    parts = []
    while size:
        data = os.read(file, size)
        if not data:
            raise EOFError
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def read_frame(file: int) -> tuple[dict[str, Any], bytes] | None:
    """Reads one message from a file descriptor, None at the end."""
    try:
        header, data = LENGTHS.unpack(_exactly(file, LENGTHS.size))
        return json.loads(_exactly(file, header)), _exactly(file, data)
    except EOFError:
        return None


def write_frame(file: int, header: dict[str, Any], data: bytes = b"") -> None:
    """Writes one message to a file descriptor."""
    text = json.dumps(header).encode()
    left = memoryview(b"".join((LENGTHS.pack(len(text), len(data)), text, data)))
    while left:
        left = left[os.write(file, left) :]


def main() -> None:
    """Works until standard input ends, which it does when the parent ends."""
    # An interrupt is the parent's to handle: it ends this process by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    writer = Writer()
    try:
        while (frame := read_frame(0)) is not None:
            write_frame(1, writer.work(*frame))
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    main()
