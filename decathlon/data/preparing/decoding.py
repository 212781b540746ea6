"""Decodes batches of image files in several processes, which write the pixels to the shards.

A process runs as ``python -m decathlon.data.preparing.decoding`` and reads messages (a JSON
header, then the image files) from its standard input. Unlike with the pools of
:mod:`multiprocessing`, nothing is pickled, the caller's program is not imported again, and a
decoder that crashes takes no other process along.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from zlib_ng import zlib_ng

from decathlon.common.errors import DataError
from decathlon.common.interrupts import blocked
from decathlon.data.boxes import Box, stored, turned
from decathlon.data.image import ImageError, ImageFile, wanted_size

PROCESS = "decathlon.data.preparing.decoding"
"""The module that a decoding process runs."""
AHEAD = 2
"""Batches given to a process before its first answer."""
OUTSIDE = "bounding boxes outside their images, replaced by the whole image"
_PIPE = 1 << 20
"""Bytes of a pipe to a process."""
_ROOM = 4 << 20
"""Bytes of pixels written at once."""


class _Pixels:
    """Pixels on their way to files; neighbouring images are written together.

    Every batch uses the same memory: new memory costs a quarter as much as decoding.
    """

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._room = memoryview(bytearray(_ROOM))
        self._runs: list[list[int]] = []  # offset in the file, start and end in the room
        self._file, self._end = -1, 0

    def begin(self, path: str) -> None:
        """Turns to another file."""
        if path not in self._files:
            if len(self._files) >= 32:
                self.close()
            self._files[path] = os.open(path, os.O_WRONLY)
        self._file = self._files[path]
        self._runs, self._end = [], 0

    def room(self, offset: int, size: int) -> memoryview:
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
        """Writes all pixels."""
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


class Decoder:
    """Decodes batches; keeps the files open to which it writes."""

    def __init__(self) -> None:
        self._pixels = _Pixels()

    def decode(self, header: dict[str, Any], data: bytes | memoryview) -> dict[str, Any]:
        """Decodes one batch and writes each image's pixels to their file.

        Args:
            header: ``limit`` (pixels) and ``photographs`` (see
                :class:`~decathlon.data.image.ImageFile`), ``side``, ``tolerance`` and
                ``originals`` (see :func:`~decathlon.data.image.wanted_size`), ``file`` (path) and
                ``images``, a list of (offset in the file, height, width, bytes). If the images
                have bounding boxes, ``boxes``, in pixels of the files.
            data: The image files, one after the other.

        Returns:
            ``crc32`` of each image's pixels, None if they are not written; ``resized``, numbers
            of images in the batch; ``others``, (number, height, width) of images of another size
            than expected; ``broken``, (number, reason) of images that cannot be used;
            ``remarks``, number of images by remark. The others and the broken ones are not
            written. ``boxes``: those of the images that are written, in stored pixels. If writing
            failed: ``{"errno": n, "error": text}``.
        """
        answer: dict[str, Any] = {
            "crc32": [],
            "boxes": [],
            "resized": [],
            "others": [],
            "broken": [],
            "remarks": Counter(),
        }
        view, at = memoryview(data), 0
        try:
            self._pixels.begin(header["file"])
            for k, (*slot, size) in enumerate(header["images"]):
                crc32 = self._image(k, view[at : at + size], slot, header, answer)
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
        slot: Sequence[int],
        header: dict[str, Any],
        answer: dict[str, Any],
    ) -> int | None:
        """Decodes one image; returns its checksum, None if it is not written."""
        offset, height, width = slot
        try:
            image = ImageFile(data, header["limit"], header["photographs"])
            rule = header["side"], header["tolerance"], header["originals"]
            wanted = wanted_size(image.shape, (height, width), *rule)
            if wanted != (height, width):
                answer["others"].append([k, *wanted])
                return None
            piece = self._pixels.room(offset, 3 * height * width)
            image.decode_into(piece, wanted)
        except ImageError as error:
            answer["broken"].append([k, str(error)])
            return None
        except OSError:  # writing to the shard failed: a decoder's own error is an ImageError
            raise
        except Exception as error:  # noqa: BLE001  (decoders may raise anything)
            what = f"cannot be decoded ({type(error).__name__}: {error})"
            answer["broken"].append([k, what])
            return None
        if wanted != image.shape:
            answer["resized"].append(k)
        answer["remarks"].update(image.remarks)
        if "boxes" in header:
            box = turned(Box(*header["boxes"][k]), *image.shape, image.orientation)
            found = stored(box, image.shape, wanted)
            answer["remarks"].update([] if found else [OUTSIDE])
            answer["boxes"].append(found or (0, 0, *wanted[::-1]))
        return zlib_ng.crc32(piece)

    def close(self) -> None:
        """Closes all files."""
        self._pixels.close()


Reply = Callable[[dict[str, Any]], None]


class _Process:
    def __init__(self) -> None:
        # The child finds the package where this process found it.
        paths = os.pathsep.join(path for path in sys.path if path)
        requests, self.requests = Pipe(duplex=False)
        self.answers, answers = Pipe(duplex=False)
        with requests, answers:  # the child has copies of these ends
            self.process = subprocess.Popen(
                [sys.executable, "-m", PROCESS],
                stdin=requests.fileno(),
                stdout=answers.fileno(),
                # Starting its threads would cost time, and no matrices are multiplied.
                env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
            )
        self.waiting: deque[Reply] = deque()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # A batch fits into the pipe, so that sending one does not wait. If the user's
            # allowance is used up, it is slower.
            with suppress(OSError):
                fcntl.fcntl(self.requests.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)

    def died(self) -> DataError:
        code = self.process.wait()
        return DataError(
            f"a decoding process ended with code {code} (-9: out of memory?);"
            " run 'decathlon prepare' again, it continues; --jobs 1 needs least memory"
        )


class Pool:
    """Decodes batches in some processes, or in this one.

    Use as a context manager: leaving it ends the processes, and leaving it again does nothing.

    Args:
        processes: Their number; 0 decodes in this process.
    """

    def __init__(self, processes: int) -> None:
        self._own = Decoder()
        with blocked():
            self._processes = [_Process() for _ in range(processes)]

    def submit(self, header: dict[str, Any], data: Sequence[bytes], reply: Reply) -> None:
        """Sends one batch; ``reply`` is called with the answer, now or later.

        Raises:
            DataError: A process died.
        """
        if not self._processes:
            reply(self._own.decode(header, b"".join(data)))
            return
        self._collect(0)
        while True:
            process = min(self._processes, key=lambda p: len(p.waiting))
            if len(process.waiting) < AHEAD:
                break
            self._collect(None)
        process.waiting.append(reply)
        try:
            process.requests.send_bytes(json.dumps(header).encode())
            process.requests.send_bytes(b"".join(data))
        except BrokenPipeError:
            raise process.died() from None

    def drain(self) -> None:
        """Waits for all answers.

        Raises:
            DataError: A process died.
        """
        while any(process.waiting for process in self._processes):
            self._collect(None)
        self._own.close()

    def _collect(self, timeout: float | None) -> None:
        ready = wait([process.answers for process in self._processes], timeout)
        for process in self._processes:
            if process.answers in ready:
                try:
                    answer = json.loads(process.answers.recv_bytes())
                except (EOFError, OSError):
                    raise process.died() from None
                process.waiting.popleft()(answer)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self._own.close()
        for process in self._processes:
            process.process.kill()
            process.process.wait()
            process.requests.close()
            process.answers.close()


def main() -> None:
    """Decodes until standard input ends, as it does when the parent ends."""
    requests, answers, decoder = Connection(0), Connection(1), Decoder()
    with suppress(EOFError, OSError):  # the parent ended, perhaps within a message
        while True:
            header = json.loads(requests.recv_bytes())
            answer = decoder.decode(header, requests.recv_bytes())
            answers.send_bytes(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
