"""What the lock, the Makefile, the container and setup.py say about versions agrees."""

import json
import re
import runpy
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
PYTHONS = re.findall(r"Programming Language :: Python :: (3\.\d+)", SETUP)
SYSTEMS = ("linux", "darwin")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(python: str, system: str) -> dict[str, str]:
    """The versions that pip installs from the lock, by package."""
    place = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
    }
    found: dict[str, str] = {}
    for line in re.findall(r"^\w.*==.*", LOCK, re.MULTILINE):
        requirement = Requirement(line.removesuffix("\\"))
        if requirement.marker is None or requirement.marker.evaluate(place):
            assert requirement.name not in found
            found[requirement.name] = str(requirement.specifier).removeprefix("==")
    return found


def extras() -> list[str]:
    """The extras that `make install` installs, and that the lock covers."""
    (line,) = re.findall(r"^EXTRAS := (.*)$", MAKEFILE, re.MULTILINE)
    return str(line).split(",")


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_setup(python: str, system: str) -> None:
    stated = runpy.run_path(str(ROOT / "tools" / "lowest.py"))["requirements"]()
    versions = locked(python, system)
    for requirement in (Requirement(r) for extra in ("", *extras()) for r in stated[extra]):
        assert requirement.specifier.contains(versions[canonical(requirement.name)]), requirement


def test_every_version_in_the_lock_has_hashes() -> None:
    for entry in re.split(r"\n(?=\w)", LOCK)[1:]:
        assert re.search(r"^ +--hash=sha256:[0-9a-f]{64}\b", entry, re.MULTILINE), entry


def test_versions_of_torch_have_one_home() -> None:
    version = re.compile(r"\btorch(vision)? ?==? ?\d")
    assert version.search(LOCK)
    for text in (MAKEFILE, DOCKERFILE, (ROOT / ".ci" / "run").read_text(encoding="utf-8")):
        assert not version.search(text)


def test_the_lowest_python_is_the_same_everywhere() -> None:
    (requires,) = re.findall(r'python_requires="(.*)"', SETUP)
    assert requires == f">={PYTHONS[0]}"
    assert f"uv pip compile --quiet --universal --python-version {PYTHONS[0]} " in MAKEFILE
    assert f"sys.version_info < ({PYTHONS[0].replace('.', ', ')})" in MAKEFILE
    assert SpecifierSet(requires).contains(PYTHONS[-1])


def test_the_container_has_a_known_python_and_the_stages_that_are_used() -> None:
    (python,) = re.findall(r"^ARG PYTHON=(.*)$", DOCKERFILE, re.MULTILINE)
    assert python in PYTHONS
    stages = re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE)
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["build"]["target"] in stages
    for target in container["postCreateCommand"].removeprefix("make ").split():
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_container_installs_the_locks_versions_of_torch() -> None:
    """The expressions of the Dockerfile, as sed and grep understand them, on the lock."""
    drop, cut = re.findall(r"sed -E '/(.*?)/d; s/(.*?)//'", DOCKERFILE)[0]
    keep = re.findall(r"grep -E '(.*?)'", DOCKERFILE)[0]
    lines = [re.sub(cut, "", line) for line in LOCK.splitlines() if not re.search(drop, line)]
    assert [line for line in lines if not line.lstrip().startswith("#") and "==" not in line] == []
    pins = dict(line.split("==") for line in lines if re.search(keep, line))
    versions = locked(PYTHONS[0], "linux")
    assert pins == {name: versions[name] for name in ("torch", "torchvision")}


def test_the_context_of_the_container_is_what_a_build_needs() -> None:
    """All that the Dockerfile copies is sent to the engine, and no data or results."""
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert all((ROOT / name).exists() for name in kept)
    copied = re.findall(r"^COPY (\S+\.\S+) ", DOCKERFILE, re.MULTILINE)
    assert {"setup.py", "decathlon", "methods", "results/published", *copied} <= set(kept)
