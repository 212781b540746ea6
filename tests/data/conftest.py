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


def at_hand(name: str, what: str) -> Path:
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"{what} here ({path})")
    return path


@pytest.fixture(scope="session")
def mini() -> Path:
    """The sample of real images, where it is at hand."""
    return at_hand("mini-decathlon", "the sample of real images is not")


@pytest.fixture(scope="session")
def labels_zip() -> Path:
    """The official test labels, where they are at hand."""
    return at_hand("labels_test.zip", "the official test labels are not")
