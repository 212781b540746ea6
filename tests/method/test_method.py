"""The registry: methods are found and described without importing torch."""

import subprocess
import sys

import pytest

from decathlon.common.errors import UsageError
from decathlon.method.registry import about, find, registered


def test_every_registered_method_is_described() -> None:
    for name in registered():
        facts = about(name)
        assert facts.text, name
        assert facts.paper, name
        assert 2010 <= facts.year <= 2100, name
        assert facts.trains, name


def test_description_agrees_with_the_class() -> None:
    for name in registered():
        kind = find(name)
        assert (about(name).paper, about(name).year) == (kind.paper, kind.year)


def test_unknown_method_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'spottune'"):
        find("spotune")


def test_describing_imports_no_torch() -> None:
    program = (
        "import sys; from decathlon.method.registry import about, registered;"
        "[about(name) for name in registered()]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_recipes_name_their_protocol() -> None:
    for name in registered():
        for protocol, recipe in find(name).recipes.items():
            assert recipe.protocol == protocol, name
