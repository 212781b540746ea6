"""A site with all that a site can show."""

from pathlib import Path

import pytest

from decathlon.scoring.site.writing import SiteRequest, write_site
from tests.scoring.site.making import HOSTILE, add_bundle, add_row


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A results folder and two bundles, one of them with a hostile label."""
    folder = tmp_path_factory.mktemp("inputs")
    results = folder / "results"
    add_row(results, "spottune", 0.6)
    add_row(results, "fine-tuning", 0.55, seed=1)
    bundles = folder / "bundles"
    bundles.mkdir()
    return [results, add_bundle(bundles, HOSTILE, 0.5), add_bundle(bundles, "plain", 0.4)]


@pytest.fixture(scope="session")
def site(inputs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site of all of them."""
    out = tmp_path_factory.mktemp("site") / "public"
    write_site(inputs, out, SiteRequest(title="Ours", url="https://example.org/board/"))
    return out
