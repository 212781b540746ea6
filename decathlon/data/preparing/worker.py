"""The process that decodes: reads batches of image files, writes their pixels in place.

It runs as ``python -m decathlon.data.preparing.worker`` and speaks a small protocol of its own
over standard input and output (a length, a JSON header, the image files), so that
nothing is pickled and a decoder that crashes takes no other process with it.
"""

import json
import os
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

from zlib_ng import zlib_ng

from decathlon.data.image import ImageError, ImageFile, wanted_size

LENGTHS = struct.Struct("<QQ")
"""Bytes of the header and bytes of the image files that follow."""
_PARTS = 1000
"""Pieces that are written with one call; systems take 1024."""
_ROOM = 4 << 20
"""Bytes of pixels that are written at once."""


class _Pixels:
    """Pixels on their way to files; those that lie one after the other are written at once.

    Their memory is used again for every batch: new memory costs a quarter as much as
    decoding.
    """

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._room = memoryview(bytearray(_ROOM))
        self._runs: list[list[int]] = []  # offset in the file, start and end in the room
        self._file, self._end = -1, 0

    def begin(self, path: str) -> None:
        """Turns to another file; nothing is left of the one before."""
        if path not in self._files:
            if len(self._files) >= 32:
                self.close()
            self._files[path] = os.open(path, os.O_WRONLY)
        self._file = self._files[path]
        self._runs, self._end = [], 0

    def place(self, offset: int, size: int) -> memoryview:
        """Returns memory for ``size`` bytes that belong at ``offset`` of the file."""
        if self._end + size > len(self._room):
            self.write()
            if size > len(self._room):
                self._room = memoryview(bytearray(size))
        start, self._end = self._end, self._end + size
        if self._runs and self._runs[-1][0] + start - self._runs[-1][1] == offset:
            self._runs[-1][2] = self._end
        else:
            self._runs.append([offset, start, self._end])
        return self._room[start : self._end]

    def write(self) -> None:
        """Writes what has been placed."""
        for offset, start, end in self._runs:
            at = start
            while at < end:
                at += os.pwrite(self._file, self._room[at:end], offset + at - start)
        self._runs, self._end = [], 0

    def close(self) -> None:
        """Closes all files."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()


class Writer:
    """Decodes batches and keeps the files open that it writes to."""

    def __init__(self) -> None:
        self._pixels = _Pixels()

    def work(self, header: dict[str, Any], data: bytes | memoryview) -> dict[str, Any]:
        """Decodes one batch and writes each image's pixels to its place.

        Args:
            header: ``limit`` (pixels), ``photographs`` (see :class:`ImageFile`), ``tolerance``
                and ``originals`` (see :func:`wanted_size`), ``file`` (path) and ``images``, a list
                of (offset in the file, height, width, bytes).
            data: The image files, one after the other.

        Returns:
            ``crc32``, of each image, null where it is not written; ``resized``, positions;
            ``others``, (position, height, width) of images of another size than expected;
            ``broken``, (position, reason) of images that cannot be used; ``remarks``, the
            number of images by what was decided about them. The others and the broken ones
            are not written. ``{"errno": n, "error": text}`` where writing failed.
        """
        answer: dict[str, Any] = {
            "crc32": [],
            "resized": [],
            "others": [],
            "broken": [],
            "remarks": Counter(),
        }
        view, at = memoryview(data), 0
        try:
            self._pixels.begin(header["file"])
            for k, (*place, size) in enumerate(header["images"]):
                crc32 = self._image(k, view[at : at + size], place, header, answer)
                answer["crc32"].append(crc32)
                at += size
            self._pixels.write()
        except OSError as error:
            return {"errno": error.errno or 0, "error": str(error)}
        return answer

    def _image(
        self,
        k: int,
        data: memoryview,
        place: Sequence[int],
        header: dict[str, Any],
        answer: dict[str, Any],
    ) -> int | None:
        """Decodes one image; returns its checksum, None where it is not written."""
        offset, height, width = place
        try:
            image = ImageFile(data, header["limit"], header["photographs"])
            rule = header["side"], header["tolerance"], header["originals"]
            wanted = wanted_size(image.shape, (height, width), *rule)
            if wanted != (height, width):
                answer["others"].append([k, *wanted])
                return None
            piece = self._pixels.place(offset, 3 * height * width)
            image.decode_into(piece, wanted)
        except ImageError as error:
            answer["broken"].append([k, str(error)])
            return None
        except OSError:  # of the shard: a decoder's own is an ImageError
            raise
        except Exception as error:  # noqa: BLE001  (decoders may raise anything)
            what = f"cannot be decoded ({type(error).__name__}: {error})"
            answer["broken"].append([k, what])
            return None
        if wanted != image.shape:
            answer["resized"].append(k)
        answer["remarks"].update(image.remarks)
        return zlib_ng.crc32(piece)

    def close(self) -> None:
        """Closes all files."""
        self._pixels.close()


class Pipe:
    """Messages through two file descriptors: a JSON header and bytes.

    Memory for what is read is used again: a message is valid until the next is read.
    """

    def __init__(self, read: int, write: int) -> None:
        self._in, self._out = read, write
        self._room = bytearray()

    def read(self) -> tuple[dict[str, Any], memoryview] | None:
        """Reads one message, None at the end."""
        try:
            header, data = LENGTHS.unpack(self._exactly(LENGTHS.size))
            return json.loads(bytes(self._exactly(header))), self._exactly(data)
        except EOFError:
            return None

    def write(self, header: dict[str, Any], data: Sequence[bytes] = ()) -> None:
        """Writes one message, whose bytes may come in parts."""
        text = json.dumps(header).encode()
        parts = [LENGTHS.pack(len(text), sum(map(len, data))), text, *data]
        while parts:
            written = os.writev(self._out, parts[:_PARTS])
            while parts and written >= len(parts[0]):
                written -= len(parts.pop(0))
            if written:
                parts[0] = parts[0][written:]

    def _exactly(self, size: int) -> memoryview:
        if len(self._room) < size:
            self._room = bytearray(size)
        found = memoryview(self._room)[:size]
        left = found
        while left:
            count = os.readv(self._in, [left])
            if not count:
                raise EOFError
            left = left[count:]
        return found


def main() -> None:
    """Works until standard input ends, which it does when the parent ends."""
    pipe, writer = Pipe(0, 1), Writer()
    try:
        while (message := pipe.read()) is not None:
            pipe.write(writer.work(*message))
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    main()
