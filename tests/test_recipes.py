"""Settings: what a user may write after --set, and what is said when it does not fit."""

import pytest

from decathlon.errors import UsageError
from decathlon.recipes import Recipe, apply, parse_settings

RECIPES = {"paper": Recipe(), "released": Recipe(protocol="released", epochs=110)}


def settings(*arguments: str) -> Recipe:
    return apply(RECIPES, parse_settings(arguments), "method 'x'")


def test_without_settings_the_recipe_is_the_methods() -> None:
    assert settings() == RECIPES["paper"]


def test_values_are_json() -> None:
    recipe = settings("epochs=3", "milestones=[0.5]", "lr=1e-2")
    assert (recipe.epochs, recipe.milestones, recipe.lr) == (3, (0.5,), 0.01)


def test_one_domain_or_all_domains() -> None:
    recipe = settings("weight_decay.dtd=5e-4", "weight_decay=1e-3")
    assert recipe.decay("dtd") == 5e-4
    assert recipe.decay("svhn") == 1e-3


def test_protocol_is_applied_first() -> None:
    recipe = settings("epochs=7", "protocol=released")
    assert (recipe.protocol, recipe.epochs) == ("released", 7)
    assert settings("protocol=released").epochs == 110


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("epoch=3", "did you mean 'epochs'"),
        ("epochs=0", "greater than or equal to 1"),
        ("epochs=many", "valid integer"),
        ("lr=nan", "finite"),
        ("lr=-1", "greater than 0"),
        ("lr.dtd=1", "one value for all domains"),
        ("weight_decay.dtd=x", "valid number"),
        ("protocol=papre", "did you mean 'paper'"),
        ("epochs", "field=value"),
    ],
)
def test_what_does_not_fit_is_said(argument: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings(argument)


def test_an_unknown_field_lists_the_fields() -> None:
    with pytest.raises(UsageError, match="milestones = "):
        settings("colour=1")


def test_a_recipe_survives_json() -> None:
    recipe = settings("weight_decay.dtd=5e-4", "milestones=[0.25,0.5]")
    assert apply(RECIPES, recipe.as_json(), "x") == recipe
