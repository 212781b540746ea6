"""What messages of bad input say."""

import pytest

from decathlon.common import plugins
from decathlon.common.errors import UsageError, first_difference


def test_long_values_end_with_a_mark() -> None:
    said = first_difference({"rule": {"text": "x" * 200}}, {"rule": None})
    assert said.startswith('rule was {"text": "xxx')
    assert said.endswith("x..., now not set")
    assert len(said) < 110


def test_an_unknown_suite_may_be_one_of_a_package_that_is_missing() -> None:
    with pytest.raises(UsageError, match=r"unknown suite 'pets'.*install that"):
        plugins.chosen("suite", plugins.registered("suite"), "pets")
