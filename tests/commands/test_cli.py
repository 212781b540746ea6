"""The command line: one message, the documented exit code, no traceback."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from decathlon.cli import app
from tests.pages import run


def decathlon(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run(Path.cwd(), list(arguments), **env)


def started(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The same from the start, with nothing imported before."""
    command = [sys.executable, "-m", "decathlon", *arguments]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True)


def refused(code: int, *arguments: str, **env: str) -> str:
    done = decathlon(*arguments, **env)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "",
        "prepare",
        "verify",
        "show",
        "domains",
        "methods",
        "networks",
        "suites",
        "pretrain",
        "import-weights",
        "run",
        "sweep",
        "new-method",
        "score",
        "report",
        "compare",
        "reproduce",
        "plot",
        "submit",
        "evaluate",
        "bundle",
        "check-bundle",
        "cite",
        "site",
        "new-leaderboard",
        "demo",
    ],
)
def test_help_teaches(command: str) -> None:
    done = decathlon(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["methods"],
        ["score", "results"],
        ["cite", "dtd"],
        ["site", "results", "--out", "{folder}/public"],
        ["new-leaderboard", "{folder}/board"],
    ],
)
def test_light_commands_do_not_import_torch(arguments: list[str], tmp_path: Path) -> None:
    arguments = [word.format(folder=tmp_path) for word in arguments]
    program = (
        "import sys, decathlon.cli as cli\n"
        f"sys.argv = ['decathlon', *{arguments!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit as done:\n"
        "    code = done.code\n"
        "sys.exit(code or ('torch' in sys.modules))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0


def test_unknown_method_suggests_the_nearest() -> None:
    assert "did you mean 'spottune'" in refused(2, "run", "--method", "spotune", "--data", "/none")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "-1", "x", ""])
@pytest.mark.parametrize(
    "arguments",
    [
        ["pretrain", "--out", "x.safetensors", "--width"],
        ["pretrain", "--out", "x.safetensors", "--checkpoint"],
        ["run", "--method", "scratch", "--checkpoint"],
        ["run", "--method", "scratch", "--launcher", "ray", "--gpus"],
        ["run", "--method", "scratch", "--fraction"],
        ["demo", "--scale"],
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-1]}",
)
def test_numbers_on_the_command_line_are_finite(arguments: list[str], value: str) -> None:
    ended = CliRunner().invoke(app, [*arguments, value])
    assert ended.exit_code == 2
    assert arguments[-1] in ended.output


def test_every_float_option_is_checked() -> None:
    checked = 0
    for command in app.registered_commands:
        assert command.callback is not None
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            if "float" in str(hint):
                options = [part.callback for part in hint.__metadata__]
                assert options != [None], f"{command.callback.__name__} {name}"
                checked += 1
    assert checked >= 5


def test_no_data_folder_is_said(tmp_path: Path) -> None:
    message = refused(3, "run", "--method", "scratch", "--data", str(tmp_path / "nowhere"))
    assert "nowhere" in message
    assert "decathlon prepare" in message


def test_data_folder_comes_from_the_environment(tmp_path: Path) -> None:
    message = refused(3, "verify", DECATHLON_DATA=str(tmp_path / "elsewhere"))
    assert "elsewhere" in message


def test_wrong_split_is_said() -> None:
    assert "val or test" in refused(2, "score", "results", "--split", "train")


def test_unknown_option_is_usage() -> None:
    refused(2, "run", "--metod", "scratch")


def test_debug_shows_the_traceback() -> None:
    done = started("score", "results", "--split", "x", DECATHLON_DEBUG="1")
    assert "Traceback" in done.stderr


def test_version_is_printed_quickly() -> None:
    before = time.monotonic()
    done = started("--version")
    assert done.stdout.startswith("decathlon ")
    assert time.monotonic() - before < 5


def test_an_interrupt_while_modules_are_imported_is_told() -> None:
    program = (
        "import runpy, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "runpy.run_module('decathlon', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "decathlon: interrupted; run the same command to go on\n"


# Root reads everything, unless this power is given up.
MORTAL = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(not all(map(shutil.which, MORTAL[:1])), reason="root, and there is no setpriv")
@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (3, ["prepare", "--archives", "locked"]),
        (3, ["prepare", "--labels", "locked"]),
        (3, ["prepare", "--imagenet", "locked"]),
        (3, ["verify", "--data", "locked"]),
        (3, ["show", "dtd", "--data", "locked", "--out", "x.png"]),
        (3, ["evaluate", "results.zip", "--labels", "locked"]),
        (4, ["evaluate", "locked", "--labels", "labels.zip"]),
    ],
)
def test_what_cannot_be_read_is_no_wrong_usage(
    tmp_path: Path, code: int, arguments: list[str]
) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    with zipfile.ZipFile(tmp_path / "results.zip", "w") as archive:
        archive.writestr("results.json", "[]")
    done = subprocess.run(
        [*MORTAL, sys.executable, "-m", "decathlon", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == code, done.stderr
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "prepare",
            [
                "(default: archives)",
                "(default: $DECATHLON_DATA, else ./data)",
                "(default: all cores)",
            ],
        ),
        ("show", ["[default: train]", "[default: 60]"]),
        ("submit", ["[default: results.zip]"]),
        ("run", ["(default: $DECATHLON_DATA, else ./data)"]),
    ],
)
def test_help_tells_defaults(command: str, told: list[str]) -> None:
    """What is written in brackets would be taken for markup and vanish."""
    shown = decathlon(command, "--help", COLUMNS="300", NO_COLOR="1").stdout
    for text in told:
        assert text in shown


def test_no_help_is_taken_for_markup() -> None:
    for name, command in typer.main.get_command(app).commands.items():
        for text in (command.help, *(parameter.help for parameter in command.params)):
            assert "[" not in (text or ""), name
