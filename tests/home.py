"""An environment of a user's own, in which packages are installed as a user installs them."""

import os
import subprocess
import sys
import venv
from pathlib import Path

from tests.pages import act

COLUMNS = 200
OFFLINE = ("--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet")


class Home:
    """A virtual environment that has what this one has, and whatever is installed into it.

    Attributes:
        python: Its interpreter.
        packages: The folder that packages are installed in.
    """

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        (self.packages,) = (folder / "venv").glob("lib/python*/site-packages")
        ours = [path for path in sys.path if path.endswith("site-packages")]
        lines = [f"import site; site.addsitedir({path!r})\n" for path in ours]
        (self.packages / "ours.pth").write_text("".join(lines))

    def run(self, folder: Path, *arguments: str) -> str:
        """Runs Python in a folder; returns what it prints."""
        environment = {**os.environ, "COLUMNS": f"{COLUMNS}", "NO_COLOR": "1", "PYTHONPATH": ""}
        done = subprocess.run(
            [self.python, *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def follow(self, folder: Path, words: list[str]) -> str:
        """Runs a command of a page: ``pip install -e``, ``python`` or ``decathlon``."""
        program, *rest = words
        if program == "python":
            return self.run(folder, *rest)
        if program == "pip":
            assert rest == ["install", "-e", ".[test]"]
            return self.install(folder)
        assert program == "decathlon"
        return act(folder, rest, packages=self.packages, columns=COLUMNS)

    def install(self, *folders: Path) -> str:
        """Installs packages in their folders, with what their tests need, from no index."""
        editable = [word for folder in folders for word in ("-e", f"{folder}[test]")]
        return self.run(folders[0], "-m", "pip", "install", *OFFLINE, *editable)
