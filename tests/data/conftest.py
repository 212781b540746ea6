"""Tiny official archives, and the real ones where they are at hand."""

from pathlib import Path

import pytest

from tests.data.official import Official

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture
def official(tmp_path: Path) -> Official:
    """Three small domains, not yet written."""
    made = Official(tmp_path / "archives")
    for domain in ("imagenet12", "dtd", "svhn"):
        made.add(domain)
    return made


@pytest.fixture
def small(tmp_path: Path) -> Official:
    """One small domain, not yet written."""
    made = Official(tmp_path / "archives")
    made.add("dtd")
    return made


@pytest.fixture(scope="session")
def mini() -> Path:
    """The sample of real images, where it is at hand."""
    folder = SHARED / "data" / "mini-decathlon"
    if not folder.is_dir():
        pytest.skip(f"the sample of real images is not here ({folder})")
    return folder


@pytest.fixture(scope="session")
def labels_zip() -> Path:
    """The official test labels, where they are at hand."""
    path = SHARED / "data" / "labels_test.zip"
    if not path.is_file():
        pytest.skip(f"the official test labels are not here ({path})")
    return path
