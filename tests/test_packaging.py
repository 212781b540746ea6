"""A built wheel holds the code, the literature's rows and the entry points, and nothing else."""

import configparser
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = "results/published/visual-decathlon"
PACKED = "decathlon/published/visual-decathlon"
PARTS = ("decathlon", "methods", "results/published", "tests", "tools")
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the sources, since a build leaves its traces beside them."""
    copy = tmp_path_factory.mktemp("sources")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    # What must not be taken along, if it should lie about.
    (copy / "results" / "fine-tuning").mkdir(parents=True)
    (copy / "results" / "fine-tuning" / "record.json").write_text("{}")
    (copy / "tests" / "__init__.py").touch()
    (copy / "tools").mkdir(exist_ok=True)
    (copy / "tools" / "__init__.py").touch()
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-index", "--disable-pip-version-check", "--wheel-dir", out, copy],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked, which is what installing a pure Python wheel does."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def run(installed: Path, program: str) -> str:
    """Runs a program on the unpacked wheel, away from the sources."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=installed,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_only_the_code_is_inside(installed: Path) -> None:
    tops = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"decathlon", "decathlon_methods"}


def test_every_module_is_inside(installed: Path) -> None:
    for folder, package in (("decathlon", "decathlon"), ("methods", "decathlon_methods")):
        modules = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py")}
        inside = installed / package
        assert {path.relative_to(inside) for path in inside.rglob("*.py")} == modules
    assert (installed / "decathlon/method/equal_code.json").is_file()


def test_a_method_can_be_begun_from_the_installed_package(installed: Path, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\nfrom decathlon.method.package import write_package\n"
        f"print(*write_package('my-method', Path({str(tmp_path / 'mine')!r})))"
    )
    assert "src/my_method.py" in run(installed, program)


def test_the_repository_of_a_leaderboard_is_inside(installed: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from decathlon.scoring.site.repository import write_repository\n"
        "print(*sorted(map(str, write_repository(Path('board')))), sep='\\n')"
    )
    template = ROOT / "decathlon" / "scoring" / "site" / "template"
    files = [path.relative_to(template) for path in template.rglob("*") if path.is_file()]
    names = [f"board/{str(path).replace('dot-', '.')}" for path in files]
    assert run(installed, program).splitlines() == sorted(names)
    assert "board/.github/workflows/check.yml" in names


def test_published_rows_are_inside(installed: Path) -> None:
    rows = {path.name: path.read_bytes() for path in (ROOT / ROWS).glob("*.json")}
    packed = {path.name: path.read_bytes() for path in (installed / PACKED).iterdir()}
    assert packed == rows
    table3 = [row for row in map(json.loads, packed.values()) if row["table"] == "SpotTune Table 3"]
    assert len(table3) == 15


def test_published_rows_are_read_from_the_installed_package(installed: Path) -> None:
    program = (
        "from decathlon.results.published import packaged, published_rows\n"
        "print(packaged(), len(published_rows()))"
    )
    num_rows = len(list((ROOT / ROWS).glob("*.json")))
    assert run(installed, program) == f"{installed / PACKED} {num_rows}"


def test_entry_points(installed: Path) -> None:
    (info,) = installed.glob("*.dist-info")
    points = configparser.ConfigParser(delimiters="=")
    points.read(info / "entry_points.txt")
    assert points["console_scripts"]["decathlon"] == "decathlon.__main__:main"
    methods = dict(points["decathlon.methods"])
    assert {"scratch", "feature-extractor", "fine-tuning", "spottune"} <= methods.keys()
    for place in methods.values():
        module, _, _ = place.partition(":")
        path = installed / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_version_is_that_of_the_code(wheel: Path, installed: Path) -> None:
    assert wheel.name.split("-")[1] == run(
        installed, "import decathlon; print(decathlon.__version__)"
    )


def test_a_folder_of_methods_in_the_working_folder_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "__init__.py").write_text("raise ImportError('not this one')\n")
    find = (
        "import decathlon.method.registry as r; r.find('fine-tuning'); r.find('spottune-global-k')"
    )
    # Both put the working folder in front of sys.path.
    for arguments in (["-m", "decathlon", "methods"], ["-c", find]):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
