"""new-method: what it writes installs, passes its tests and runs; nothing else is written."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decathlon import __version__
from decathlon.common.errors import UsageError
from decathlon.method.package import FILES, NAME, check_new, class_of, module_of, write_package
from tests.commands.test_cli import decathlon
from tests.home import Home

ROOT = Path(__file__).parents[2]
QUICK = "--domain dtd --set epochs=1 --set batch_size=16 --precision 32 --device cpu --threads 1"
AWKWARD = ("conftest", "setup", "tests", "none")
"""Names of modules that pytest and setuptools look for, and of a word of Python's."""


def requirement(name: str) -> str:
    """The version of Python that a pyproject.toml or setup.py asks for."""
    text = (ROOT / name).read_text(encoding="utf-8")
    (found,) = re.findall(r'python_requires="(\S+)"', text)
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


def commands(readme: Path) -> list[list[str]]:
    found = re.findall(r"^```console\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in "".join(found).splitlines()]


def test_the_readme_is_true(home: Home, tmp_path: Path, tiny: Path, tiny_source: Path) -> None:
    """Installed, tested, listed, run and scored, by the commands that its README shows."""
    assert decathlon("new-method", "my-method", "--dir", str(tmp_path / "mine")).returncode == 0
    folder = tmp_path / "mine"
    (folder / "data").symlink_to(tiny)
    shutil.copyfile(tiny_source, folder / "source.safetensors")
    outputs = {}
    for words in commands(folder / "README.md"):
        quick = QUICK.split() if words[:2] == ["decathlon", "run"] else []
        outputs[words[1]] = home.follow(folder, [*words, *quick])
    assert "3 passed" in outputs["-m"]
    assert "my-method" in outputs["methods"]
    assert "slower near the images" in outputs["methods"]
    assert [line for line in outputs["score"].splitlines() if line.startswith("my-method")]


@pytest.mark.slow
def test_awkward_names_work(home: Home, tmp_path: Path) -> None:
    for name in AWKWARD:
        write_package(name, tmp_path / name)
    home.install(*(tmp_path / name for name in AWKWARD))
    for name in AWKWARD:
        assert "1 passed" in home.run(tmp_path / name, "-m", "pytest", "-k", "slowly")
    listed = home.run(tmp_path, "-m", "decathlon", "methods")
    assert all(re.search(rf"^{name} ", listed, re.MULTILINE) for name in AWKWARD)


@given(st.from_regex(NAME, fullmatch=True))
def test_no_class_hides_another_name(name: str) -> None:
    assert class_of(name).isidentifier()
    assert module_of(name).isidentifier()


def test_the_class_hides_no_name_that_the_templates_use(tmp_path: Path) -> None:
    write_package("quite-another", tmp_path / "mine")
    for path in (tmp_path / "mine").rglob("*.py"):
        tree = ast.parse(path.read_text())
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        capitals = {name for name in used if name[0].isupper()} - {"QuiteAnother"}
        assert capitals
        for name in capitals:
            kebab = re.sub(r"(?<!^)([A-Z])", r"-\1", name).lower()
            assert class_of(kebab) == f"{name}Method"


def test_the_code_follows_the_linter(tmp_path: Path) -> None:
    write_package("my-method", tmp_path / "mine")
    for action in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [Path(sys.executable).parent / "ruff", *action, "--isolated", "."],
            cwd=tmp_path / "mine",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def test_bounds_follow_the_version(tmp_path: Path) -> None:
    write_package("my-method", tmp_path / "mine")
    with (tmp_path / "mine" / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert __version__.startswith("0.1.")  # the bounds below are of that series
    assert project["dependencies"] == ["decathlon>=0.1,<0.2"]
    assert project["requires-python"] == requirement("setup.py")
    yaml = pytest.importorskip("yaml", reason="needs the extra `dev`")
    workflow = yaml.safe_load((tmp_path / "mine/.github/workflows/tests.yml").read_text())
    assert [workflow["env"]["DECATHLON"]] == project["dependencies"]
    assert workflow["jobs"]["tests"]["steps"][-1]["run"] == "python -m pytest"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My-Method", "use lower-case letters"),
        ("my_method", "use lower-case letters"),
        ("my--method", "use lower-case letters"),
        ("2nd", "use lower-case letters"),
        ("../x", "use lower-case letters"),
        ("", "use lower-case letters"),
        ("a\n", "use lower-case letters"),
        ("x" * 61, "at most 60 characters"),
        ("spottune", "a method of that name is installed"),
        ("linear-probe", "a method of that name is installed"),
        ("lambda", "Python's grammar"),
        ("json", "Python has a module"),
        ("test", "Python has a module"),
        ("sitecustomize", "Python has a module"),
        ("decathlon", "the package decathlon has it"),
        ("decathlon-methods", "the package decathlon has it"),
        ("pydantic-core", "the package pydantic"),
        ("sources", "results have a folder"),
    ],
)
def test_other_names_are_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        write_package(name, tmp_path / "mine")
    assert not any(tmp_path.iterdir())


def test_a_refusal_is_one_message(tmp_path: Path) -> None:
    done = decathlon("new-method", "spottune", "--dir", str(tmp_path / "mine"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"mine: is not empty; name another .* --dir"):
        write_package("my-method", tmp_path / "mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="a file stands where a folder is needed"):
        write_package("my-method", tmp_path / "file")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine", "notes.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    files = write_package("my-method", Path())
    found = [str(path.relative_to(Path.cwd())) for path in Path.cwd().rglob("*") if path.is_file()]
    assert sorted(found) == files
    assert len(files) == len(FILES)


def test_all_is_written_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "x" * 300, "gitignore")  # a name that no file system takes
    for folder in (tmp_path / "new", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="too long"):
            write_package("my-method", folder)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty"]


def test_it_needs_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from decathlon.method.package import write_package;"
        f"write_package('my-method', Path({str(tmp_path / 'mine')!r}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_check_new_takes_what_is_free() -> None:
    check_new("gradual-unfreezing2")
