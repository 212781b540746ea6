"""Fixtures of the sources' tests."""

from pathlib import Path

import pytest

from tests.data.fine_grained import Fine


@pytest.fixture
def fine(tmp_path: Path) -> Fine:
    """An empty folder of archives."""
    return Fine(tmp_path / "archives")
