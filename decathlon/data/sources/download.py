"""``prepare --download``: downloads a suite's free archives.

An incomplete file stays beside its final name as ``<name>.part``; the same call or a later one
continues it with HTTP Range. A file gets its final name only if its size and SHA-256 are the
official ones.
"""

import errno
import re
import shutil
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from decathlon.common.errors import DataError, UsageError, nearest
from decathlon.common.files import sha256
from decathlon.common.locks import exclusive
from decathlon.common.oserrors import explained
from decathlon.common.progress import Bar, progress
from decathlon.suites.base import Archive, Suite

if TYPE_CHECKING:
    from httpx import Client, Response
    from tenacity import RetryCallState

ATTEMPTS = 8
"""Attempts in a row that may bring nothing before the download is given up."""
FIRST_WAIT = 1.0
"""Seconds between two attempts, at most, at first."""
LONGEST_WAIT = 60.0
"""Seconds between two attempts, at most."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection is given up."""
REDIRECTIONS = 10
_HEADERS = {"User-Agent": "decathlon (data preparation)", "Accept-Encoding": "identity"}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_LASTING = frozenset({400, 401, 403, 404, 405, 410, 414, 451})
"""Answers that another attempt will not change."""


class _InterruptedError(Exception):
    """An attempt that ended early; what came is kept."""


def free_archives(suite: Suite) -> list[Archive]:
    """Returns the archives that need no account, and whose content can be checked."""
    return [archive for archive in suite.official if archive.sha256 and not archive.note]


def how_to_get(archive: Archive, folder: Path, suite: Suite) -> str:
    """Returns instructions for an archive that cannot be downloaded freely."""
    instead = ""
    if suite.photographs in archive.domains:
        instead = "; if you have the original ILSVRC-2012 photographs, give them with --imagenet"
    return (
        f"{archive.file} ({archive.size / 1e9:.1f} GB, {', '.join(archive.domains)})"
        f" {archive.note}: log in, accept the terms, then download {archive.url} to {folder}."
        f" Without it the other domains can be prepared{instead}"
    )


def fetch(folder: Path, suite: Suite, domains: Sequence[str] | None = None) -> list[str]:
    """Downloads a suite's free archives into a folder, as far as they are not there.

    Args:
        folder: Where they go; made when missing.
        suite: Whose archives they are.
        domains: Domains that are wanted, or None for all; archives of none of them are
            left out.

    Returns:
        Names of the files that were downloaded.

    Raises:
        UsageError: A domain is none of the suite's.
        DataError: The server refuses, stays silent, or has another file than the official
            one; a file of that name is there that is not the official one; or the folder
            cannot be written.
    """
    for name in domains or ():
        if name not in suite.domains:
            raise UsageError(
                f"the official archives hold no domain '{name}'{nearest(name, suite.domains)}"
                f" (they hold {', '.join(suite.domains)})"
            )
    done = []
    archives = [
        archive
        for archive in free_archives(suite)
        if domains is None or not archive.domains or set(archive.domains) & set(domains)
    ]
    try:
        with exclusive(folder, "folder of archives", "--archives"):
            for archive in archives:
                if (folder / archive.file).exists():
                    _check_present(folder / archive.file, archive)
                else:
                    _Download(folder, archive).run()
                    done.append(archive.file)
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
        self.best = 0  # bytes of the file, at most so far
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
            if not self._complete(bar):
                # A part of another file may have been kept: once more, from the start.
                whole, self.parts = self.parts == 1 and not have, 0
                self.part.unlink()
                bar.advance(-self.archive.size / 1e6, "damaged, once more from the start")
                if whole or not self._complete(bar):
                    self.part.unlink(missing_ok=True)
                    raise self._foreign()
        self.part.replace(self.path)

    def _have(self) -> int:
        size = self.part.stat().st_size if self.part.exists() else 0
        if size > self.archive.size:
            self.part.unlink()
            return 0
        return size

    def _complete(self, bar: Bar) -> bool:
        """Fetches until the file has its size; returns True if its digest is right."""
        from httpx import Client
        from tenacity import (
            Retrying,
            retry_if_exception_type,
            stop_after_attempt,
            wait_random_exponential,
        )

        def report(state: "RetryCallState") -> None:
            if state.outcome is not None and state.next_action is not None:
                wait = state.next_action.sleep
                bar.advance(0, f"{state.outcome.exception()}; again in {wait:.0f} s")

        retrying = Retrying(
            retry=retry_if_exception_type(_InterruptedError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(FIRST_WAIT, LONGEST_WAIT),
            before_sleep=report,
            reraise=True,
        )
        self.best = self._have()
        with Client(
            headers=_HEADERS,
            timeout=TIMEOUT,
            follow_redirects=True,
            max_redirects=REDIRECTIONS,
            verify=ssl.create_default_context(),
        ) as client:
            while self._have() < self.archive.size:
                try:
                    retrying(self._attempt, client, bar)
                except _InterruptedError as error:
                    kept = f"what came is kept in {self.part}" if self._have() else "nothing came"
                    raise DataError(
                        f"{self.archive.url}: {error}, {ATTEMPTS} times in a row; {kept}:"
                        " run the same command again later, it continues"
                    ) from None
        return sha256(self.part) == self.archive.sha256

    def _attempt(self, client: "Client", bar: Bar) -> None:
        """Fetches what one answer brings.

        Raises:
            _InterruptedError: It brings nothing new.
        """
        import httpx

        have, problem = self._have(), "the server sent less than the file"
        try:
            ranged = {"Range": f"bytes={have}-"} if have else {}
            with client.stream("GET", self.archive.url, headers=ranged) as answer:
                self._check_status(answer, have, bar)
                self._take(answer, have, bar)
        except httpx.TooManyRedirects:
            raise self._refused("302 again and again") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            problem = f"no connection ({str(error) or type(error).__name__})"
        except httpx.HTTPError as error:
            problem = f"the connection broke ({str(error) or type(error).__name__})"
        if self._have() <= self.best:
            raise _InterruptedError(problem)
        self.best = self._have()

    def _check_status(self, answer: "Response", have: int, bar: Bar) -> None:
        if answer.is_success:
            return
        status = f"{answer.status_code} {answer.reason_phrase}"
        if answer.status_code in _LASTING or answer.has_redirect_location:
            raise self._refused(status)
        if answer.status_code == 416:
            self.part.unlink(missing_ok=True)
            bar.advance(-have / 1e6)
        raise _InterruptedError(f"the server answers {status}")

    def _take(self, answer: "Response", have: int, bar: Bar) -> None:
        """Writes what an answer brings to its position in the file."""
        skip = 0
        if answer.status_code == 206:
            match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if not match or int(match[1]) != have:
                raise _InterruptedError("the server sent another part than asked for")
            if match[2] not in ("*", str(self.archive.size)):
                raise self._foreign(f"{int(match[2]):,} bytes")
        else:
            length = answer.headers.get("Content-Length", "")
            if length.isdigit() and int(length) != self.archive.size:
                raise self._foreign(f"{int(length):,} bytes")
            skip = have  # the server ignored Range
        self.parts += 1
        left = self.archive.size - have
        with self.part.open("ab") as file:
            for received in answer.iter_raw():
                data = received[skip : skip + left]
                skip = max(0, skip - len(received))
                file.write(data)
                left -= len(data)
                self.came += len(data)
                bar.advance(len(data) / 1e6, self._speed(left))
                if not left:
                    break

    def _speed(self, left: int) -> str:
        """Returns rate and remaining time, which a terminal's bar shows by itself."""
        rate = self.came / max(time.monotonic() - self.began, 1e-3)
        if self.terminal:
            return f"{rate / 1e6:.1f} MB/s"
        minutes, seconds = divmod(round(left / rate), 60)
        return f"{rate / 1e6:.1f} MB/s, {minutes}:{seconds:02d} left"

    def _refused(self, status: str) -> DataError:
        return DataError(
            f"{self.archive.url}: the server answers {status};"
            f" fetch {self.archive.file} by other means and put it beside the others"
        )

    def _foreign(self, what: str = "another SHA-256") -> DataError:
        return DataError(
            f"{self.archive.url}: has another file than the official {self.archive.file}"
            f" ({what}; expected are {self.archive.size:,} bytes with SHA-256"
            f" {self.archive.sha256[:12]}...); nothing of it is used: fetch the official file by"
            " other means, or look at what the address shows in a browser"
        )
