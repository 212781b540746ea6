"""A wheel and a source archive hold the code, the literature's rows and the entry points alone."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from packaging.metadata import Metadata

ROOT = Path(__file__).parents[1]
ROWS = "results/published/visual-decathlon"
PACKED = "decathlon/published/visual-decathlon"
PARTS = ("decathlon", "methods", "results/published", "tests", "tools", "docs")
MORE = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md"}
"""Files for a reader of the sources, those of them that there are."""
FILES = {"setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"} | {
    name for name in MORE if (ROOT / name).is_file()
}
MADE = {"PKG-INFO", "setup.cfg"}
"""Files that setuptools adds to a source archive, beside its decathlon.egg-info."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, since a build leaves its traces beside them."""
    copy = tmp_path_factory.mktemp("sources")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    # What must not be taken along, if it should lie about.
    for name in (
        "results/fine-tuning/record.json",
        "results/published/notes.txt",
        "tests/__init__.py",
        "tools/__init__.py",
        "out/demo/data.json",
        "decathlon/common/__pycache__/text.cpython-311.pyc",
        "methods/.mypy_cache/cache.json",
        ".venv/lib/module.py",
        "scratch.py",
    ):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).touch()
    return copy


def build(kind: str, sources: Path, out: Path) -> Path:
    """Builds a wheel or a source archive (sdist), all files of which get one time."""
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", out, sources],
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, unpacked."""
    archive = build("sdist", sources, tmp_path_factory.mktemp("sdist"))
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (inside,) = folder.iterdir()
    assert inside.name == archive.name.removesuffix(".tar.gz")
    return inside


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked, which is what installing a pure Python wheel does."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def run(installed: Path, *words: str | Path) -> str:
    """Runs Python on the unpacked wheel, away from the sources."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=installed,
        env=os.environ | {"PYTHONPATH": str(installed), "COLUMNS": "100", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def files(folder: Path) -> set[str]:
    """All files in a folder, but for what Python compiles."""
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return {name for name in found if "__pycache__" not in name}


def test_only_the_code_is_inside(installed: Path) -> None:
    tops = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"decathlon", "decathlon_methods"}


def test_every_module_is_inside(installed: Path) -> None:
    for folder, package in (("decathlon", "decathlon"), ("methods", "decathlon_methods")):
        modules = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py")}
        inside = installed / package
        assert {path.relative_to(inside) for path in inside.rglob("*.py")} == modules
    assert (installed / "decathlon/method/equal_code.json").is_file()
    assert (installed / "decathlon/py.typed").is_file()


def test_a_method_can_be_begun_from_the_installed_package(installed: Path, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\nfrom decathlon.method.package import write_package\n"
        f"print(*write_package('my-method', Path({str(tmp_path / 'mine')!r})))"
    )
    assert "src/my_method.py" in run(installed, "-c", program)


def test_the_repository_of_a_leaderboard_is_inside(installed: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    program = (
        "from pathlib import Path\n"
        "from decathlon.scoring.site.repository import write_repository\n"
        f"print(*sorted(map(str, write_repository(Path({str(board)!r})))), sep='\\n')"
    )
    template = ROOT / "decathlon" / "scoring" / "site" / "template"
    files = [path.relative_to(template) for path in template.rglob("*") if path.is_file()]
    names = [str(board / str(path).replace("dot-", ".")) for path in files]
    assert run(installed, "-c", program).splitlines() == sorted(names)
    assert str(board / ".github/workflows/check.yml") in names


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
    assert run(installed, "-c", program) == f"{installed / PACKED} {num_rows}"


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
    program = "import decathlon; print(decathlon.__version__)"
    assert wheel.name.split("-")[1] == run(installed, "-c", program)


def test_the_source_archive_holds_what_a_build_needs(unpacked: Path, installed: Path) -> None:
    """The wheel's files where they lie in the sources, and a few more."""
    places = {"decathlon/published": "results/published", "decathlon_methods": "methods"}
    expected = set(FILES | MADE)
    for name in files(installed):
        if ".dist-info/" not in name:
            place = next((p for p in places if name.startswith(f"{p}/")), "")
            expected.add(places.get(place, "") + name.removeprefix(place))
    assert {n for n in files(unpacked) if not n.startswith("decathlon.egg-info/")} == expected


def test_a_wheel_of_the_source_archive_is_the_same(
    wheel: Path, unpacked: Path, tmp_path: Path
) -> None:
    again = build("wheel", unpacked, tmp_path)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


@pytest.fixture(scope="module")
def metadata(installed: Path) -> Metadata:
    (path,) = installed.glob("*.dist-info/METADATA")
    return Metadata.from_email(path.read_bytes(), validate=True)


def test_metadata_is_what_an_index_takes(metadata: Metadata, installed: Path) -> None:
    assert metadata.name == "decathlon"
    assert metadata.license_expression == "Apache-2.0"
    assert [*installed.glob("*.dist-info/licenses/LICENSE")]
    assert metadata.project_urls
    assert metadata.requires_python is not None
    python = "Programming Language :: Python :: 3."
    tested = [c.rpartition(" ")[2] for c in metadata.classifiers or [] if c.startswith(python)]
    assert str(metadata.requires_python) == f">={tested[0]}"


def test_the_description_renders_without_other_files(metadata: Metadata) -> None:
    assert metadata.description_content_type == "text/markdown"
    page = MarkdownIt("commonmark").enable("table").render(metadata.description or "")
    assert page.count("<table>") >= 2
    assert page.count("<pre><code") >= 5
    assert "docs/scoring.md" in page
    assert set(re.findall(r'(?:href|src|srcset)="([a-z]*)', page)) <= {"http", "https"}


def test_commands_run_without_the_sources(installed: Path, tmp_path: Path) -> None:
    assert "prepare" in run(installed, "-m", "decathlon", "--help")
    assert "spottune-global-k" in run(installed, "-m", "decathlon", "methods")
    assert "Parallel Res. adapt." in run(installed, "-m", "decathlon", "score", tmp_path)


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
