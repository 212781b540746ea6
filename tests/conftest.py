"""Generated data for tests that go through the real commands."""

from pathlib import Path

import pytest
from hypothesis import settings

# A deadline fails the first example of a slow or busy machine.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, quotas of containers included.

    A fifth of the time, tests wait for processes of their own.
    """
    from decathlon.common.limits import cores

    return cores() + 1


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random weights for a test, whichever tests ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data folder: all ten domains drawn small, test labels known."""
    from decathlon.data.preparing.prepare import prepare
    from decathlon.demo.archives import write_archives

    folder = tmp_path_factory.mktemp("tiny")
    write_archives(folder / "archives", scale=0.05)
    prepare(
        folder / "archives",
        folder / "data",
        jobs=1,
        labels=folder / "archives" / "labels_test.zip",
    )
    return folder / "data"


@pytest.fixture(scope="session")
def tiny_source(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source network trained for one epoch on the tiny imagenet12."""
    from decathlon.data.reading.store import open_store
    from decathlon.running.pretraining import Pretraining, pretrain
    from decathlon.running.source_training import SourceRecipe
    from decathlon.training.device import Compute

    path = tmp_path_factory.mktemp("source") / "source.safetensors"
    config = Pretraining(
        open_store(tiny),
        path,
        recipe=SourceRecipe(epochs=1, batch_size=16),
        width=0.25,
        split="test",
        compute=Compute("cpu", "32"),
    )
    pretrain(config, lambda facts: None)
    return path


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str) -> None:
    """Ends the whole run at once when a test ends the process that runs it."""
    pytest.exit(f"{crashitem} crashed the process that ran it", returncode=1)
