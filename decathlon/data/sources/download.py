"""``prepare --download``: downloads the free official archives.

A file that came in part stays beside its final name as ``<name>.part`` and is continued
with HTTP Range, by the same call or a later one. A file has its final name only when its
size and SHA-256 are the official ones.
"""

import errno
import http.client
import random
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from decathlon.common.errors import DataError, UsageError, nearest
from decathlon.common.files import CHUNK, sha256
from decathlon.common.locks import exclusive
from decathlon.common.oserrors import explained
from decathlon.common.progress import Bar, progress
from decathlon.suites.base import Archive
from decathlon.suites.visual_decathlon import DEVKIT, DOMAINS, IMAGENET, NINE

FREE = (DEVKIT, NINE)
"""The archives that need no account."""
ATTEMPTS = 8
"""Attempts in a row that may bring nothing before the download is given up."""
FIRST_WAIT = 1.0
"""Seconds between two attempts, at first."""
LONGEST_WAIT = 60.0
"""Seconds between two attempts, at most."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection is given up."""
_AGENT = "decathlon (data preparation)"
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_LASTING = frozenset({400, 401, 403, 404, 405, 410, 414, 451})
"""Answers that another attempt will not change."""


class _InterruptedError(Exception):
    """An attempt that ended early; what came is kept."""


@dataclass
class Fetched:
    """What :func:`fetch` did.

    Attributes:
        present: Files that were there already.
        fetched: Files that were downloaded.
    """

    present: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)


def how_to_get_imagenet(folder: Path) -> str:
    """Says how to get the ImageNet archive, which needs an account."""
    return (
        f"{IMAGENET.file} ({IMAGENET.size / 1e9:.1f} GB, imagenet12) {IMAGENET.note}:"
        " make one at https://image-net.org, accept its terms, log in, then download"
        f" {IMAGENET.url} to {folder}. Without it the other nine domains can be prepared;"
        " if you have the original ILSVRC-2012 photographs, give them with --imagenet"
    )


def fetch(folder: Path, domains: Sequence[str] | None = None) -> Fetched:
    """Downloads the free archives into a folder, as far as they are not there.

    Args:
        folder: Where they go; made when missing.
        domains: Domains that are wanted, or None for all; archives of none of them are
            left out.

    Raises:
        UsageError: A domain is none of the official ones.
        DataError: The server refuses, stays silent, or has another file than the official
            one; a file of that name is there that is not the official one; or the folder
            cannot be written.
    """
    for name in domains or ():
        if name not in DOMAINS:
            raise UsageError(
                f"the official archives hold no domain '{name}'{nearest(name, DOMAINS)}"
                f" (they hold {', '.join(DOMAINS)})"
            )
    done = Fetched()
    archives = [
        a for a in FREE if domains is None or not a.domains or set(a.domains) & set(domains)
    ]
    try:
        with exclusive(folder, "folder of archives", "--archives"):
            for archive in archives:
                if (folder / archive.file).exists():
                    _check_present(folder / archive.file, archive)
                    done.present.append(archive.file)
                else:
                    _Download(folder, archive).run()
                    done.fetched.append(archive.file)
    except OSError as error:
        what = explained(error, folder, "name another folder with --archives")
        raise DataError(f"{what}; then run the same command again, it continues") from None
    return done


def _check_present(path: Path, archive: Archive) -> None:
    """Compares a file that is there with the official one.

    Raises:
        DataError: It is another.
    """
    size = path.stat().st_size
    if size != archive.size or sha256(path) != archive.sha256:
        raise DataError(
            f"{path}: is not the official file ({size:,} bytes, {archive.size:,} expected, or"
            " another SHA-256); move it away to download the official one, or prepare it as it"
            " is without --download"
        )


@contextmanager
def _receiving() -> Iterator[None]:
    """Tells what goes wrong on the way from the server from what does on the disk."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        raise _InterruptedError(f"no connection ({error.reason})") from None
    except (http.client.HTTPException, OSError) as error:
        raise _InterruptedError(
            f"the connection broke ({str(error) or type(error).__name__})"
        ) from None


def _received(answer: http.client.HTTPResponse, most: int) -> bytes:
    """Returns what has come of an answer, as it is kept even if the connection breaks next."""
    with _receiving():
        return answer.read1(min(CHUNK, most))


class _Download:
    """One archive on its way.

    Args:
        folder: Where it goes.
        archive: What it is.
    """

    def __init__(self, folder: Path, archive: Archive) -> None:
        self.archive = archive
        self.path = folder / archive.file
        self.part = folder / f"{archive.file}.part"
        self.parts = 0  # that the file is put together from
        self.began, self.came = time.monotonic(), 0
        # Asked before there is a bar: older versions of rich replace the stream while it lasts.
        self.terminal = sys.stderr.isatty()

    def run(self) -> None:
        """Fetches, checks and renames the file."""
        have = self._have()
        self.parts = 1 if have else 0
        free = shutil.disk_usage(self.part.parent).free
        if free < self.archive.size - have:
            raise OSError(errno.ENOSPC, "the disk is full", str(self.part.parent))
        with progress(self.archive.file, self.archive.size / 1e6, "MB") as bar:
            bar.advance(have / 1e6, "continued" if have else "")
            if not self._attempts(bar):
                # A part of another file may have been kept: once more, from the start.
                whole, self.parts = self.parts == 1 and not have, 0
                self.part.unlink()
                bar.advance(-self.archive.size / 1e6, "damaged, once more from the start")
                if whole or not self._attempts(bar):
                    self.part.unlink(missing_ok=True)
                    raise self._foreign()
        self.part.replace(self.path)

    def _have(self) -> int:
        size = self.part.stat().st_size if self.part.exists() else 0
        if size > self.archive.size:
            self.part.unlink()
            return 0
        return size

    def _attempts(self, bar: Bar) -> bool:
        """Fetches until the file has its size; returns whether its digest is right."""
        failed, best = 0, self._have()
        while (have := self._have()) < self.archive.size:
            try:
                self._attempt(have, bar)
                problem = "the server sent less than the file"
            except _InterruptedError as error:
                problem = str(error)
            if self._have() == self.archive.size:
                break
            failed = 0 if self._have() > best else failed + 1
            best = max(best, self._have())
            if failed >= ATTEMPTS:
                kept = f"what came is kept in {self.part}" if self._have() else "nothing came"
                raise DataError(
                    f"{self.archive.url}: {problem}, {ATTEMPTS} times in a row; {kept}:"
                    " run the same command again later, it continues"
                )
            if failed:
                # Back-off with some chance in it, so that many callers do not come at once.
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failed - 1)) * random.uniform(0.5, 1)
                bar.advance(0, f"{problem}; again in {wait:.0f} s")
                time.sleep(wait)
        return sha256(self.part) == self.archive.sha256

    def _attempt(self, have: int, bar: Bar) -> None:
        headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        request = urllib.request.Request(self.archive.url, headers=headers)
        try:
            with _receiving():
                answer = urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            error.close()  # it is the answer, too
            # urllib explains an endless redirection in several lines.
            told = f"the server answers {error.code} {str(error.reason).splitlines()[0]}"
            if error.code in _LASTING or 300 <= error.code < 400:
                raise DataError(
                    f"{self.archive.url}: {told};"
                    f" fetch {self.archive.file} by other means and put it beside the others"
                ) from None
            if error.code == 416:
                self.part.unlink(missing_ok=True)
                bar.advance(-have / 1e6)
            raise _InterruptedError(told) from None
        with answer:
            self._take(cast(http.client.HTTPResponse, answer), have, bar)

    def _take(self, answer: http.client.HTTPResponse, have: int, bar: Bar) -> None:
        """Writes what an answer brings to its place in the file."""
        skip = 0
        if answer.status == 206:
            match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if not match or int(match[1]) != have:
                raise _InterruptedError("the server sent another part than asked for")
            if match[2] not in ("*", str(self.archive.size)):
                raise self._foreign(f"{int(match[2]):,} bytes")
        else:
            length = answer.headers.get("Content-Length", "")
            if length.isdigit() and int(length) != self.archive.size:
                raise self._foreign(f"{int(length):,} bytes")
            skip = have  # Range was ignored: what is there is passed over
        self.parts += 1
        while skip:
            passed = len(_received(answer, skip))
            if not passed:
                raise _InterruptedError("the connection broke")
            skip -= passed
        with self.part.open("ab") as file:
            left = self.archive.size - have
            while left and (data := _received(answer, left)):
                file.write(data)
                left -= len(data)
                self.came += len(data)
                bar.advance(len(data) / 1e6, self._speed(left))

    def _speed(self, left: int) -> str:
        """Returns rate and remaining time, which a terminal's bar shows by itself."""
        rate = self.came / max(time.monotonic() - self.began, 1e-3)
        if self.terminal:
            return f"{rate / 1e6:.1f} MB/s"
        minutes, seconds = divmod(round(left / rate), 60)
        return f"{rate / 1e6:.1f} MB/s, {minutes}:{seconds:02d} left"

    def _foreign(self, what: str = "another SHA-256") -> DataError:
        return DataError(
            f"{self.archive.url}: has another file than the official {self.archive.file}"
            f" ({what}; expected are {self.archive.size:,} bytes with SHA-256"
            f" {self.archive.sha256[:12]}...); nothing of it is used: fetch the official file by"
            " other means, or look at what the address shows in a browser"
        )
