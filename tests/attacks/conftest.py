"""The same tiny archives as the tests of the data."""

from tests.data.conftest import official, small

__all__ = ["official", "small"]
