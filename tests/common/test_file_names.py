"""Folders whose names are not UTF-8, as old archives and other systems leave them."""

import os
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from decathlon.results.records import read_record
from tests.pages import run


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such names")
    return folder


def decathlon(folder: Path, *words: object) -> CompletedProcess[str]:
    return run(folder, [*map(str, words)], PYTHONIOENCODING="utf-8")


@pytest.mark.slow
def test_every_step_works_in_a_folder_whose_name_is_no_utf_8(
    odd: Path, tiny: Path, tiny_source: Path
) -> None:
    data, results, source = odd / "data", odd / "results", odd / "source.safetensors"
    shutil.copytree(tiny, data)
    shutil.copyfile(tiny_source, source)
    run = ["run", "--method", "feature-extractor", "--source", source, "--set", "epochs=1"]
    run += ["--domain", "dtd", "--data", data, "--results", results]
    for words in (
        ["verify", "--data", data],
        ["show", "dtd", "--data", data, "--out", odd / "sheet.png"],
        run,
        ["score", results, "--baseline", "feature-extractor", "--out", odd / "board.txt"],
    ):
        done = decathlon(odd, *words)
        assert done.returncode == 0, done.stderr
    trial = results / "feature-extractor" / "dtd" / "test" / "seed0"
    assert read_record(trial / "record.json").domain == "dtd"

    (data / "dtd" / "test.h5").unlink()
    done = decathlon(odd, *run, "--seed", 1)
    assert done.returncode == 3, done.stderr
    assert "unexpected" not in done.stderr
    assert r"caf\udce9/data/dtd/test.h5: missing" in done.stderr
    assert r"caf\\udce9" in (trial.with_name("seed1") / "failed.json").read_text("utf-8")


@pytest.mark.parametrize("option", ["--name", "--tensorboard"])
def test_names_that_have_to_be_utf_8_are_refused(tiny: Path, tmp_path: Path, option: str) -> None:
    run = ["run", "--method", "scratch", "--set", "width=0.1", "--domain", "dtd", "--data", tiny]
    done = decathlon(tmp_path, *run, option, os.fsdecode(b"n\xff"))
    assert done.returncode == 2, done.stderr
    assert r"n\udcff" in done.stderr
    assert "unexpected" not in done.stderr
