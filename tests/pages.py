"""Commands and code of pages, each in a process of its own that has imported torch already."""

import multiprocessing
import os
import site
import sys
import tempfile
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["decathlon.cli", "decathlon.running.trial"])


def _act(
    folder: Path, output: Path, packages: Path, words: list[str], code: str, columns: int
) -> None:
    os.chdir(folder)
    os.environ.update(NO_COLOR="1", COLUMNS=f"{columns}", HF_HOME=str(folder / "huggingface"))
    site.addsitedir(str(packages))
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if code:
        exec(compile(code, "page", "exec"), {"__name__": "page"})
        return
    from decathlon.cli import main

    sys.argv = ["decathlon", *words]
    main()


def act(
    folder: Path,
    words: list[str],
    code: str = "",
    packages: Path | None = None,
    columns: int = 100,
) -> str:
    """Runs a command, or Python code, in a folder; returns what it prints.

    Args:
        folder: The folder.
        words: Those of the command, without the program.
        code: Python, in place of a command.
        packages: Folder with more installed packages, if there is one.
        columns: Width of the terminal.
    """
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "output"
        more = packages or folder / "site"
        process = FORKS.Process(target=_act, args=(folder, output, more, words, code, columns))
        process.start()
        process.join()
        text = output.read_text(encoding="utf-8")
    assert process.exitcode == 0, f"{' '.join(words) or code}\n{text}"
    return text
