"""Commands, and code of pages, each in a process of its own that has imported torch already."""

import multiprocessing
import os
import site
import sys
import tempfile
from io import TextIOWrapper
from pathlib import Path
from subprocess import CompletedProcess

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["decathlon.cli", "decathlon.running.trial"])


def _run(
    folder: Path,
    streams: list[Path],
    packages: Path | None,
    environment: dict[str, str],
    words: list[str],
    code: str,
) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    if packages:
        site.addsitedir(str(packages))
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if encoding := environment.get("PYTHONIOENCODING"):  # as a new interpreter reads it
        for stream, errors in ((sys.stdout, "strict"), (sys.stderr, "backslashreplace")):
            assert isinstance(stream, TextIOWrapper)
            stream.reconfigure(encoding=encoding, errors=errors)
    if code:
        exec(compile(code, "page", "exec"), {"__name__": "page"})
        return
    from decathlon.cli import main

    sys.argv = ["decathlon", *words]
    main()


def run(
    folder: Path,
    words: list[str],
    code: str = "",
    packages: Path | None = None,
    merged: bool = False,
    **environment: str,
) -> CompletedProcess[str]:
    """Runs a command, or Python code, in a folder.

    Args:
        folder: The folder.
        words: Those of the command, without the program.
        code: Python, in place of a command.
        packages: Folder with more installed packages.
        merged: Standard error is part of the output.
        **environment: Variables, besides those of this process.
    """
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place) / "out", Path(place) / "err"
        streams = [out, out if merged else err]
        process = FORKS.Process(
            target=_run, args=(folder, streams, packages, environment, words, code)
        )
        process.start()
        process.join()
        texts = [path.read_text(encoding="utf-8") if path.exists() else "" for path in (out, err)]
    assert process.exitcode is not None
    return CompletedProcess(words, process.exitcode, *texts)


def act(
    folder: Path,
    words: list[str],
    code: str = "",
    packages: Path | None = None,
    columns: int = 100,
) -> str:
    """Runs what a page shows, which has to succeed; returns what it prints.

    Args:
        folder: The page's folder, in which ``site`` holds packages of the page.
        words: See :func:`run`.
        code: See :func:`run`.
        packages: Folder with more installed packages, in place of ``site``.
        columns: Width of the terminal.
    """
    done = run(
        folder,
        words,
        code,
        packages or folder / "site",
        merged=True,
        NO_COLOR="1",
        COLUMNS=f"{columns}",
        HF_HOME=str(folder / "huggingface"),
    )
    assert done.returncode == 0, f"{' '.join(words) or code}\n{done.stdout}"
    return done.stdout
