"""The suite of docs/study.md: the fine-grained sets at 128 pixels."""

import runpy
from pathlib import Path

from decathlon.suites.fine_grained import SUITE as FINE_GRAINED

FOLDER = Path(__file__).parents[2] / "tools" / "fine_128"


def test_it_differs_from_the_fine_grained_suite_in_size_alone() -> None:
    suite = runpy.run_path(str(FOLDER / "fine_128.py"))["SUITE"]
    assert suite.domains.keys() == FINE_GRAINED.domains.keys()
    for name, domain in suite.domains.items():
        whole = FINE_GRAINED.domains[name]
        assert (domain.num_classes, domain.reader) == (whole.num_classes, whole.reader)
        for views in (domain.views, suite.views_of(name, "box")):
            assert {views.train.crop, views.test.crop} == {128}
            assert suite.side > 128
            assert views.train.scale == whole.views.train.scale
    assert 'fine-128 = "fine_128:SUITE"' in (FOLDER / "pyproject.toml").read_text()
    assert suite.name == "fine-128"
