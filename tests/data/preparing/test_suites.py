"""A data folder belongs to one suite; a stranger's suite is prepared from class folders."""

import io
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.commands.listing import domains_table
from decathlon.common.errors import DataError, UsageError
from decathlon.common.files import digest_of
from decathlon.data.manifest import DomainEntry, read_manifest
from decathlon.data.preparing.prepare import Prepared, prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import open_store
from decathlon.suites import registry
from decathlon.suites.base import Domain, Suite, View, Views
from tests.data.official import Official, encoded, picture

VIEWS = Views.of(View(32))


def domain(name: str, sizes: tuple[int, int, int]) -> Domain:
    mean, std = (0.5, 0.25, 0.125), (0.2, 0.2, 0.2)
    return Domain(name, name[:3], f"pictures of {name}", 2, sizes, mean, std, VIEWS)


PETS = Suite(
    name="pets",
    title="Pets",
    text="cats and dogs",
    domains={"cats": domain("cats", (4, 4, 4)), "dogs": domain("dogs", (9, 9, 9))},
    side=40,
    views=VIEWS,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs of each of two classes in every split."""
    rng = np.random.default_rng(3)
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for k in range(2):
                data = encoded(picture(rng, 80, 120))
                (tmp_path / "photos" / split / name / f"{k}.jpg").write_bytes(data)
    return tmp_path / "photos"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the suite as a package of a stranger would."""
    point = EntryPoint("pets", f"{__name__}:PETS", "decathlon.suites")
    monkeypatch.setattr(EntryPoint, "load", lambda _: PETS)
    monkeypatch.setattr(registry, "registered", lambda: {"pets": point})


def pets(data: Path, folder: Path, *names: str) -> Prepared:
    return prepare(None, data, suite=PETS, folders=dict.fromkeys(names, folder), jobs=0)


def entries(data: Path) -> dict[str, DomainEntry]:
    manifest = read_manifest(data)
    assert manifest is not None
    return manifest.domains


@pytest.mark.usefixtures("installed")
def test_a_suite_without_archives_is_prepared_from_folders(tmp_path: Path, folder: Path) -> None:
    data = tmp_path / "data"
    pets(data, folder, "dogs", "birds", "cats")
    assert json.loads((data / "manifest.json").read_text())["suite"] == "pets"
    found = entries(data)
    assert list(found) == ["cats", "dogs", "birds"]
    assert {name: entry.official for name, entry in found.items()} == {
        "cats": True,
        "dogs": False,  # by its counts
        "birds": False,  # the user's own
    }
    assert (found["cats"].statistics, found["cats"].mean) == ("official", (0.5, 0.25, 0.125))
    assert found["dogs"].statistics == found["birds"].statistics == "computed on train"
    store = open_store(data)
    assert store.suite is PETS
    assert store.images("cats", ["train"]).pixels(0).shape == (40, 60, 3)
    assert verify(data).images == 36
    assert pets(data, folder, "cats", "dogs", "birds").done
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(domains_table(data, 160))
    lines = console.export_text().splitlines()
    cells = {line.split()[0]: line.split() for line in lines if line.strip()}
    assert cells["cats"][6:8] == ["official", "4/4/4"]
    assert cells["dogs"][6:8] == ["own", "9/9/9"]
    assert "imagenet12" not in cells


def test_names_of_a_suite_are_free_where_it_has_no_archives(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="'dtd' is an official domain"):
        prepare(None, tmp_path, folders={"dtd": folder})
    with pytest.raises(UsageError, match="'Cats' differs from the domain 'cats' by case only"):
        pets(tmp_path, folder, "Cats")
    assert pets(tmp_path, folder, "dtd").written == {"dtd": {"train": 4, "val": 4, "test": 4}}
    with pytest.raises(UsageError, match="suite 'pets' has no archives: prepare cats, dogs with"):
        prepare(tmp_path / "archives", tmp_path, suite=PETS)


def test_a_folder_holds_data_of_one_suite(small: Official, tmp_path: Path, folder: Path) -> None:
    data = tmp_path / "data"
    prepare(small.write(), data, jobs=0)
    before = (data / "manifest.json").read_bytes()
    with pytest.raises(UsageError, match="for suite 'visual-decathlon', not 'pets'"):
        pets(data, folder, "cats")
    assert (data / "manifest.json").read_bytes() == before


def test_a_manifest_without_a_suite_is_the_default_ones(small: Official, tmp_path: Path) -> None:
    """Earlier versions knew one suite."""
    prepare(small.write(), tmp_path / "data", jobs=0)
    path = tmp_path / "data" / "manifest.json"
    value = json.loads(path.read_text())
    assert value.pop("suite") == "visual-decathlon"
    del value["digest"]
    path.write_text(json.dumps({**value, "digest": digest_of(value)}))
    before = path.read_bytes()
    assert prepare(small.folder, tmp_path / "data").done
    assert open_store(tmp_path / "data").suite is registry.DEFAULT
    assert path.read_bytes() == before


def test_the_command_takes_the_suite_of_the_folder(
    tmp_path: Path, folder: Path, request: pytest.FixtureRequest
) -> None:
    data = str(tmp_path / "data")

    def run(*options: str) -> tuple[str, BaseException | None]:
        done = CliRunner().invoke(app, ["prepare", "--data", data, *options])
        return done.stdout, done.exception

    _, error = run("--suite", "pets", "--folder", f"cats={folder}")
    assert isinstance(error, UsageError)
    assert "unknown suite 'pets'" in str(error)
    request.getfixturevalue("installed")
    told, error = run("--suite", "pets", "--folder", f"cats={folder}")
    assert error is None
    assert "prepared\nnext: decathlon run" in told or told.endswith("prepared\n")
    _, error = run("--suite", "visual-decathlon", "--folder", f"birds={folder}")
    assert isinstance(error, UsageError)
    told, error = run("--folder", f"dogs={folder}")
    assert error is None
    assert list(entries(tmp_path / "data")) == ["cats", "dogs"]
    told, _ = run()
    assert "nothing to do, all is prepared" in told


def test_a_suite_that_is_not_installed_is_named(tmp_path: Path, folder: Path) -> None:
    pets(tmp_path, folder, "cats")
    with pytest.raises(DataError, match="for suite 'pets', which cannot be used"):
        domains_table(tmp_path, 80)
    assert verify(tmp_path).images == 12
