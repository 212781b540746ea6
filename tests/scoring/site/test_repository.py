"""The repository of a leaderboard: its files are valid, and its commands run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from decathlon import __version__
from decathlon.common.errors import UsageError
from decathlon.scoring.site.repository import write_repository
from tests.scoring.site.making import add_bundle

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
BIN = Path(sys.executable).parent
PROGRAM = f'#!/bin/sh\nexec "{sys.executable}" -m decathlon "$@"\n'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository in git, with ``decathlon`` on the path of its commands."""
    folder = tmp_path / "board"
    write_repository(folder)
    program = tmp_path / "bin" / "decathlon"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder)
    return folder


def git(folder: Path, *words: str) -> str:
    said = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *said, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=change")
    return git(folder, "rev-parse", "HEAD")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(folder: Path, workflow: str) -> dict[str, str]:
    """The commands of a workflow's steps by their names."""
    (job,) = read(folder / ".github" / "workflows" / workflow)["jobs"].values()
    return {step["name"]: step["run"] for step in job["steps"] if "run" in step}


def act(folder: Path, command: str, **values: str) -> subprocess.CompletedProcess[str]:
    """Runs a step as GitHub does."""
    path = f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    root = str(Path(__file__).parents[3])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": root} | values,
        capture_output=True,
        text=True,
    )


def test_files_are_valid(repository: Path) -> None:
    found = {str(p.relative_to(repository)) for p in repository.rglob("*") if p.is_file()}
    found = {name for name in found if not name.startswith(".git/")}
    assert found == {
        ".github/ISSUE_TEMPLATE/submission.yml",
        ".github/workflows/check.yml",
        ".github/workflows/pages.yml",
        ".gitignore",
        "README.md",
        "bundles/README.md",
        "requirements.txt",
    }
    form = read(repository / ".github/ISSUE_TEMPLATE/submission.yml")
    assert {field["type"] for field in form["body"]} <= {
        "markdown",
        "input",
        "textarea",
        "checkboxes",
    }
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(ids)) == len(ids) == 5
    for name in ("check.yml", "pages.yml"):
        workflow = read(repository / ".github/workflows" / name)
        assert {"name", "jobs", "permissions", True} <= workflow.keys()  # YAML reads on as True
        for command in steps(repository, name).values():
            # What a stranger can choose, such as a branch's name, is never part of a script.
            assert "${{" not in command
    assert read(repository / ".github/workflows/check.yml")["permissions"] == {"contents": "read"}
    assert f"decathlon=={__version__}" in (repository / "requirements.txt").read_text()
    assert not any("@VERSION@" in (repository / name).read_text() for name in found)


def test_a_pull_request_is_checked(repository: Path) -> None:
    command = steps(repository, "check.yml")["Check the bundles that differ from the target branch"]
    base = git(repository, "rev-parse", "HEAD")
    done = act(repository, command, BASE=base)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    made = add_bundle(repository.parent, "mine")
    shutil.copy(made, repository / "bundles" / "our row.zip")
    second = commit(repository)
    done = act(repository, command, BASE=base)
    assert "our row.zip" in done.stdout
    # The settings are made up, so that the check has something to say.
    assert done.returncode in (0, 4), done.stderr
    (repository / "bundles" / "bad.zip").write_bytes(b"not a zip")
    commit(repository)
    done = act(repository, command, BASE=second)
    assert done.returncode == 4
    assert "bad.zip: not a zip archive" in done.stderr
    assert "our row.zip" not in done.stdout


def test_the_site_is_made(repository: Path) -> None:
    shutil.copy(add_bundle(repository.parent, "mine"), repository / "bundles")
    done = act(repository, steps(repository, "check.yml")["Make the site"])
    assert done.returncode == 0, done.stderr
    command = steps(repository, "pages.yml")["Make the site"]
    done = act(repository, command, TITLE='A "board"', URL="https://example.org/a")
    assert done.returncode == 0, done.stderr
    assert "<h1>A &#34;board&#34;</h1>" in (repository / "public/index.html").read_text()
    assert "https://example.org/a/index.html" in (repository / "public/feed.xml").read_text()
    assert git(repository, "status", "--porcelain", "public") == ""  # it is ignored


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    for folder, text in (
        (tmp_path, "is not empty"),
        (tmp_path / "a", "stands where a folder is needed"),
    ):
        with pytest.raises(UsageError, match=text):
            write_repository(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / "empty").mkdir()
    assert tmp_path / "empty" / "README.md" in write_repository(tmp_path / "empty")
