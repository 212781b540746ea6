"""The description of a data folder in Croissant: a reader of that format takes it."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from decathlon.common.bibtex import entries
from decathlon.common.errors import DataError
from decathlon.common.files import sha256
from decathlon.data.manifest import read_manifest
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.croissant import _sources, croissant
from decathlon.suites.visual_decathlon import DEVKIT, SUITE
from tests.data.official import Official, encoded, picture


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("croissant")
    made = Official(folder / "archives")
    for domain in ("dtd", "svhn"):
        made.add(domain)
    prepare(made.write(), folder / "data", jobs=0)
    return folder / "data"


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "decathlon", "domains", *words], capture_output=True, text=True
    )


# mlcroissant uses what rdflib deprecates.
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_mlcroissant_reads_the_description(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs mlcroissant (extra 'dev')")
    path = tmp_path / "croissant.json"
    path.write_text(croissant(data), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(path)
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    # Nothing in a data folder says when its images were published.
    assert [w for w in issues.warnings if '/datePublished"' not in w] == []
    assert [r for r in caplog.records if "@context" in r.getMessage()] == []

    manifest = read_manifest(data)
    assert manifest is not None
    for name, entry in manifest.domains.items():
        rows = list(dataset.records(f"{name}/classes"))
        assert [row[f"{name}/classes/name"] for row in rows] == entry.class_names
        assert [row[f"{name}/classes/category_id"] for row in rows] == entry.category_ids
    counts = {
        (row["contents/domain"], row["contents/split"]): (
            row["contents/images"],
            bool(row["contents/labelled"]),
        )
        for row in dataset.records("contents")
    }
    assert counts == {
        (name, split): (found.num_images, found.labelled)
        for name, entry in manifest.domains.items()
        for split, found in entry.splits.items()
    }
    assert {row["splits/name"] for row in dataset.records("splits")} == {
        "train",
        "val",
        "test",
    }


def test_the_suite_and_what_is_prepared_of_it_are_cited(data: Path) -> None:
    cited = [entry.key for entry in entries(json.loads(croissant(data))["citeAs"])]
    texts = (SUITE.bibtex, SUITE.domains["dtd"].bibtex, SUITE.domains["svhn"].bibtex)
    assert cited == [entry.key for text in texts for entry in entries(text)]
    assert len(cited) == len(set(cited)) >= 3


def test_images_of_the_users_own_are_not_taken_for_the_suite(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "photos" / "train" / "a" / "1.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(encoded(picture(np.random.default_rng(1), 72, 80)))
    shutil.copytree(data, tmp_path / "both")
    described = {}
    for name in ("alone", "both"):
        prepare(None, tmp_path / name, folders={"mine": path.parents[2]}, jobs=0)
        described[name] = json.loads(croissant(tmp_path / name))
    assert described["alone"]["name"] == "mine"
    assert "citeAs" not in described["alone"]
    assert "Visual Decathlon" not in described["alone"]["description"]
    assert (
        "Domains here: dtd, svhn. Other images in the same format: mine."
        in (described["both"]["description"])
    )
    assert described["both"]["citeAs"] == json.loads(croissant(data))["citeAs"]
    assert str(tmp_path) not in json.dumps(described)


def test_every_shard_is_listed_with_its_size_and_digest(data: Path) -> None:
    files = json.loads(croissant(data))["distribution"]
    found = {path.relative_to(data).as_posix() for path in data.rglob("*.h5")}
    assert {file["contentUrl"] for file in files} == found
    for file in files:
        path = data / file["contentUrl"]
        assert file["encodingFormat"] == "application/x-hdf5"
        assert file["contentSize"] == f"{path.stat().st_size} B"
        assert file["sha256"] == sha256(path)
    (test,) = [file for file in files if file["@id"] == "dtd/test.h5"]
    assert test["description"] == "5 images of dtd, test, without labels"


def test_no_record_is_promised_that_lies_in_an_hdf5_file(data: Path) -> None:
    for records in json.loads(croissant(data))["recordSet"]:
        assert records["data"]
        assert not any("source" in field for field in records["field"])


def test_the_text_depends_on_the_data_alone(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(data, copy)
    assert croissant(copy) == croissant(data)
    assert str(data.parent) not in croissant(data)


def test_the_version_follows_the_data(data: Path, tmp_path: Path) -> None:
    made = Official(tmp_path / "archives")
    made.add("dtd")
    prepare(made.write(), tmp_path / "data", jobs=0)
    one, two = (json.loads(croissant(folder))["version"] for folder in (data, tmp_path / "data"))
    assert one.split("+")[0] == two.split("+")[0] == "1.0.0"
    assert one != two


def test_sources_have_addresses_where_they_are_the_official_ones(data: Path) -> None:
    manifest = read_manifest(data)
    assert manifest is not None
    plain = json.loads(croissant(data))["isBasedOn"]
    assert {work["name"] for work in plain} >= {DEVKIT.file}
    assert not any("url" in work for work in plain)  # generated archives
    dtd = manifest.domains["dtd"]
    sources = [
        s.model_copy(update={"sha256": DEVKIT.sha256}) if s.file == DEVKIT.file else s
        for s in dtd.sources
    ]
    changed = dtd.model_copy(update={"sources": sources})
    works = _sources(SUITE, manifest.model_copy(update={"domains": {"dtd": changed}}))
    assert [work.get("url") for work in works if work["name"] == DEVKIT.file] == [DEVKIT.url]


def test_a_damaged_folder_is_refused(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    with (copy / "svhn" / "val.h5").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"svhn/val\.h5: .*decathlon prepare"):
        croissant(copy)


def test_the_command_writes_the_description(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "croissant.json"
    done = command("--data", data, "--croissant", "--out", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert out.read_text(encoding="utf-8") == croissant(data)
    assert command("--data", data, "--croissant").stdout == croissant(data)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--croissant", "--data", "none"], 3, "there is no data folder none"),
        (["--croissant", "--suite", "fine-grained"], 2, "leave out --suite"),
        (["--out", "x.json"], 2, "only --croissant writes a file"),
    ],
)
def test_what_does_not_go_together(words: list[str], code: int, message: str) -> None:
    done = command(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_torch_is_not_imported(data: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from decathlon.data.reading.croissant import croissant\n"
        "croissant(pathlib.Path(sys.argv[1]))\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, data], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
