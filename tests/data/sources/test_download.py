"""Downloads from a real server on the loopback that behaves as badly as servers do."""

import errno
import hashlib
import os
import pty
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import DataError, UsageError
from decathlon.data.reading.store import open_store
from decathlon.data.sources import download
from decathlon.data.sources.download import fetch
from decathlon.suites.base import Archive
from decathlon.suites.visual_decathlon import DEVKIT, NINE, SUITE
from tests.data.official import Official

CONTENT = bytes(range(256)) * 5000


@dataclass
class Server:
    """What the server does, and what it was asked.

    Attributes:
        files: Content by path.
        drops: Bytes after which each answer in turn breaks off; then whole answers.
        ranges: Whether Range is honoured.
        length: Whether the length is told.
        shift: Added to the place where a part begins.
        errors: Status codes of the next answers.
        moved: Whether each answer sends the client to the same place again.
        asked: The Range of each request, "" without one.
    """

    files: dict[str, bytes] = field(default_factory=lambda: {"/a.tar": CONTENT})
    drops: list[int] = field(default_factory=list)
    ranges: bool = True
    length: bool = True
    shift: int = 0
    errors: list[int] = field(default_factory=list)
    moved: bool = False
    asked: list[str] = field(default_factory=list)
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def do_GET(self) -> None:
        state = self.state
        wanted = self.headers.get("Range", "")
        state.asked.append(wanted)
        self.close_connection = True
        if state.errors:
            self.send_error(state.errors.pop(0))
            return
        if state.moved:
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
            return
        content = state.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-") or 0) if state.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        start += state.shift if start else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if state.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        data = content[start:]
        with suppress(BrokenPipeError):  # whoever has read enough goes away
            self.wfile.write(data[: state.drops.pop(0)] if state.drops else data)

    def log_message(self, *_: object) -> None:
        """Keeps the terminal quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()
    handler = type("Bound", (Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        state.address = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(download, "FIRST_WAIT", 0.001)
        monkeypatch.setattr(download, "TIMEOUT", 5.0)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(download, "free_archives", lambda suite: [archive(state)])
        yield state
        running.shutdown()
        thread.join()


def archive(server: Server, name: str = "a.tar", content: bytes = CONTENT) -> Archive:
    digest = hashlib.sha256(content).hexdigest()
    return Archive(name, f"{server.address}/{name}", len(content), digest, "a test")


def fetched(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "a.tar"]
    assert (folder / "a.tar").read_bytes() == CONTENT


def test_a_whole_answer(server: Server, tmp_path: Path) -> None:
    assert fetch(tmp_path / "new", SUITE) == ["a.tar"]
    fetched(tmp_path / "new")
    assert fetch(tmp_path / "new", SUITE) == []
    assert server.asked == [""]


@pytest.mark.parametrize("length", [True, False])
def test_dropped_connections_are_continued(server: Server, tmp_path: Path, length: bool) -> None:
    server.drops, server.length = [100_000, 200_000, 0, 1], length
    fetch(tmp_path, SUITE)
    fetched(tmp_path)
    places = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for asked in server.asked]
    assert places == [0, 100_000, 300_000, 300_000, 300_001]


def test_a_later_call_continues(server: Server, tmp_path: Path) -> None:
    server.drops = [70_000] + [0] * download.ATTEMPTS
    with pytest.raises(DataError, match=r"8 times in a row; what came is kept in .*a\.tar\.part"):
        fetch(tmp_path, SUITE)
    assert (tmp_path / "a.tar.part").read_bytes() == CONTENT[:70_000]
    fetch(tmp_path, SUITE)
    fetched(tmp_path)
    assert server.asked[-1] == "bytes=70000-"


def test_a_server_that_ignores_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges, server.drops = False, [300_000, 100_000]
    fetch(tmp_path, SUITE)
    fetched(tmp_path)
    assert server.asked == ["", "bytes=300000-", "bytes=300000-"]


def test_wrong_bytes_are_never_given_the_name(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar"] = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=r"another file than the official a\.tar .another SHA"):
        fetch(tmp_path, SUITE)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert server.asked == [""]


def test_a_damaged_part_is_fetched_anew_once(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.tar.part").write_bytes(b"?" * 5000)
    fetch(tmp_path, SUITE)
    fetched(tmp_path)
    assert server.asked == ["bytes=5000-", ""]


def test_a_part_that_is_too_long_is_dropped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.tar.part").write_bytes(CONTENT + b"?")
    fetch(tmp_path, SUITE)
    fetched(tmp_path)


def test_a_file_that_is_too_short(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar"] = CONTENT[:-100]
    with pytest.raises(DataError, match=r"another file than .*1,279,900 bytes; expected are 1,280"):
        fetch(tmp_path, SUITE)
    assert not (tmp_path / "a.tar").exists()


def test_too_short_without_a_length_ends_too(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar"], server.length = CONTENT[:-100], False
    with pytest.raises(DataError, match="8 times in a row"):
        fetch(tmp_path, SUITE)
    assert not (tmp_path / "a.tar").exists()
    assert len(server.asked) < 30


def test_another_part_than_asked_for(server: Server, tmp_path: Path) -> None:
    server.drops, server.shift = [1000], 7
    with pytest.raises(DataError, match="another part than asked for"):
        fetch(tmp_path, SUITE)
    assert (tmp_path / "a.tar.part").read_bytes() == CONTENT[:1000]


def test_passing_errors_are_waited_for(server: Server, tmp_path: Path) -> None:
    server.errors = [503, 500, 429]
    fetch(tmp_path, SUITE)
    fetched(tmp_path)


def test_lasting_errors_are_told_at_once(server: Server, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(DataError, match="the server answers 404"):
        fetch(tmp_path, SUITE)
    assert server.asked == [""]


def test_an_endless_redirection_is_told_at_once(server: Server, tmp_path: Path) -> None:
    server.moved = True
    with pytest.raises(
        DataError, match=r"the server answers 302 .*; fetch a\.tar by other"
    ) as told:
        fetch(tmp_path, SUITE)
    assert len(str(told.value).splitlines()) == 1
    assert len(server.asked) < 12  # one attempt, which follows ten times


@pytest.mark.parametrize(
    "broken", [(OSError, errno.EHOSTUNREACH, "No route to host"), (ssl.SSLError, "bad record mac")]
)
def test_whatever_breaks_on_the_way_is_tried_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: tuple[Any, ...]
) -> None:
    left = [broken]

    class Breaking(socket.socket):
        """A connection of the client: the server's receives by other calls."""

        def recv(self, size: int, flags: int = 0) -> bytes:
            part = tmp_path / "a.tar.part"
            if part.exists() and part.stat().st_size > 500_000 and left:
                kind, *values = left.pop()
                raise kind(*values)
            return super().recv(size, flags)

    monkeypatch.setattr(socket, "socket", Breaking)
    fetch(tmp_path, SUITE)
    fetched(tmp_path)
    assert len(server.asked) == 2
    assert not left


def test_a_disk_that_fills_up_is_not_the_servers_fault(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.tar.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"the disk is full .*; make room"):
        fetch(tmp_path, SUITE)
    assert server.asked == [""]


def test_an_unknown_domain_is_told_before_anything_is_fetched(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no domain 'dtt', did you mean 'dtd'"):
        fetch(tmp_path, SUITE, ["dtt"])
    assert server.asked == []


def test_a_terminal_shows_one_remaining_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, terminal = pty.openpty()

    def text() -> bytes:
        parts = []
        with suppress(OSError):  # the end
            while part := os.read(shown, 1 << 16):
                parts.append(part)
        return b"".join(parts)

    with ThreadPoolExecutor(1) as reader:
        told = reader.submit(text)
        with os.fdopen(terminal, "w") as stderr, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stderr)
            fetch(tmp_path, SUITE)
        assert b"MB/s" in told.result()
        assert b" left" not in told.result()
    os.close(shown)


def test_no_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = Archive("a.tar", "http://127.0.0.1:1/a.tar", 10, "0" * 64, "a test")
    monkeypatch.setattr(download, "free_archives", lambda suite: [nobody])
    with pytest.raises(DataError, match=r"no connection .*; nothing came: run the same"):
        fetch(tmp_path, SUITE)


def test_a_foreign_file_is_not_overwritten(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"a\.tar: is not the official file"):
        fetch(tmp_path, SUITE)
    assert (tmp_path / "a.tar").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be used as folder of archives.*--archives"):
        fetch(tmp_path / "file", SUITE)


def test_rate_and_remaining_time_are_told(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(tmp_path, SUITE)
    assert "MB/s, 0:00 left" in capsys.readouterr().err


def test_the_command_downloads_and_prepares(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Official(tmp_path / "made")
    for domain in NINE.domains:
        made.add(domain, (3, 2, 1))
    made.write()
    archives = []
    for known in (DEVKIT, NINE):
        content = (made.folder / known.file).read_bytes()
        server.files[f"/{known.file}"] = content
        archives.append(replace(archive(server, known.file, content), domains=known.domains))
    monkeypatch.setattr(download, "free_archives", lambda suite: archives)
    server.drops = [1000]
    place, data = tmp_path / "archives", tmp_path / "data"
    arguments = ["prepare", "--download", "--archives", str(place), "--data", str(data)]
    done = CliRunner().invoke(app, [*arguments, "--jobs", "0"])
    assert done.exit_code == 0, done.output
    assert "needs an account at image-net.org" in done.output
    names = [".lock", *(known.file for known in archives)]
    assert sorted(path.name for path in place.iterdir()) == sorted(names)
    assert sorted(open_store(data).domains) == sorted(NINE.domains)
