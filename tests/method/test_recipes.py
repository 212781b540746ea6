"""Settings: what a user may write after --set, and what is said when it does not fit."""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, get_type_hints

import pytest
from pydantic import Field

from decathlon.common.errors import UsageError
from decathlon.method.recipe import Positive, Recipe, apply, parse_settings, without_range
from decathlon.method.registry import find, registered
from decathlon.running.source_training import RECIPE
from decathlon.suites import registry as suites

RECIPES = {"paper": Recipe(), "released": Recipe(protocol="released", epochs=110)}


def settings(*arguments: str) -> Recipe:
    return apply(RECIPES, parse_settings(arguments), "method 'x'")


def test_the_last_value_of_a_setting_counts() -> None:
    assert parse_settings(["lr=1", "epochs=3", "lr=2"]) == {"lr": 2, "epochs": 3}


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
        ("epochs=true", "valid integer"),
        ("epochs=1.5", "valid integer"),
        ("epochs=" + "1" * 5000, r"valid integer \(given: \"1{59}\.\.\.\)"),
        ("lr=true", "valid number"),
        ('lr="1"', "valid number"),
        ("lr=null", "valid number"),
        ("milestones=0.5", "valid array"),
        ("milestones=[0.5, NaN]", "finite"),
        ("weight_decay=true", "valid number"),
        ("weight_decay.dtd=Infinity", "finite"),
        ("weight_decay.dtd=1e38", "at most 1e\\+30"),
        ("lr=1e308", "at most 1e\\+30"),
        ("lr.=1", "field=value"),
        ("weight_decay.=1", "field=value"),
        pytest.param("lr=" + "[" * 100_000, "valid number", id="nested"),
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


RECIPES_OF_ALL = [("pretraining", {"paper": RECIPE})] + [
    (name, find(name).recipes) for name in registered()
]
FIELDS = {  # one of those of a name and type that many recipes have
    (
        field.name,
        str(get_type_hints(type(recipe), include_extras=True)[field.name]),
        type(getattr(recipe, field.name)),
    ): pytest.param(recipes, protocol, field.name, id=f"{name}-{protocol}-{field.name}")
    for name, recipes in RECIPES_OF_ALL
    for protocol, recipe in recipes.items()
    for field in fields(recipe)
    if field.name != "protocol"
}
NEVER = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e300",
    "1e400",
    "-1e400",
    "nan",
    "inf",
    str(10**400),
    "x",
    '"1"',
]
SOMETIMES = ["-1", "0", "1", "1.0", "true", "null", "1e-300", str(10**30), "[]", "{}", ""]


def values(recipe: Recipe) -> dict[str, Any]:
    """All fields, those too that the JSON of a recipe leaves out."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return found


def numbers(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [number for part in parts for number in numbers(part)]
    return [] if value is None or isinstance(value, str | bool) else [value]


@pytest.mark.parametrize(("recipes", "protocol", "field"), FIELDS.values())
def test_no_field_takes_what_is_no_number_of_its_range(
    recipes: dict[str, Recipe], protocol: str, field: str
) -> None:
    default = values(recipes[protocol])[field]
    kinds = {type(number) for number in numbers(default)} or {type(default)}
    for text in NEVER:
        with pytest.raises(UsageError, match=field):
            apply(recipes, parse_settings([f"protocol={protocol}", f"{field}={text}"]), "x")
    for text in SOMETIMES:
        try:
            one = apply(recipes, parse_settings([f"protocol={protocol}", f"{field}={text}"]), "x")
        except UsageError as error:
            assert field in str(error)  # noqa: PT017 - either outcome is right
            continue
        value = values(one)[field]
        assert json.loads(json.dumps(value, allow_nan=False)) == value
        assert apply(recipes, one.as_json(), "x") == one
        assert isinstance(value, bool) == (kinds == {bool})
        for number in numbers(value):
            assert math.isfinite(number)
            assert kinds == {type(None)} or type(number) in kinds
            assert number >= 0 or field in ("mask_init", "threshold")
            assert number <= 1e30


@pytest.mark.parametrize(("name", "recipes"), RECIPES_OF_ALL, ids=[n for n, _ in RECIPES_OF_ALL])
def test_every_number_has_a_range(name: str, recipes: dict[str, Recipe]) -> None:
    for recipe in recipes.values():
        assert without_range(type(recipe)) == []


@dataclass(frozen=True)
class Careless(Recipe):
    bare: float = 1.0
    maybe: int | None = None
    several: tuple[float, ...] = ()
    told: Annotated[float, "any"] = 1.0
    fine: Positive | None = None
    fine_too: Annotated[float | None, Field(gt=0)] = None


def test_numbers_without_a_range_are_found_and_still_have_to_be_finite() -> None:
    assert without_range(Careless) == ["bare", "maybe", "several", "told"]
    for setting in ("bare=NaN", "bare=1e400", "several=[Infinity]", "fine=Infinity"):
        with pytest.raises(UsageError, match="finite"):
            apply({"paper": Careless()}, parse_settings([setting]), "x")
    with pytest.raises(UsageError, match="valid number"):
        apply({"paper": Careless()}, parse_settings(["bare=true"]), "x")


def test_pythons_constants_are_understood() -> None:
    settings = parse_settings(["a=True", "b=False", "c=None"])
    assert settings == {"a": True, "b": False, "c": None}


def test_the_settings_that_can_make_a_training_diverge() -> None:
    recipe = settings("weight_decay.dtd=5e-4")
    assert recipe.unbounded("dtd") == {"lr": 0.1, "weight_decay": 5e-4}
    assert recipe.unbounded("svhn") == {"lr": 0.1, "weight_decay": 1e-4}
    spottune = find("spottune").recipes["paper"]
    names = ["lr", "weight_decay", "tau", "policy_lr", "policy_weight_decay"]
    assert list(spottune.unbounded("dtd")) == names


def test_a_suite_gives_the_values_of_its_protocols() -> None:
    suite = suites.find("fine-grained")
    recipes = {"paper": Recipe(weight_decay={"default": 1e-3})}
    paper = apply(recipes, {}, "x", suite)
    assert (paper.steps, paper.epochs, paper.lr, paper.head_lr) == (10_000, None, 0.001, 0.01)
    assert paper.nesterov
    assert paper.decay("any") == 5e-4
    other = apply(recipes, {"protocol": "piggyback", "steps": 7}, "x", suite)
    assert (other.protocol, other.steps, other.epochs, other.head_lr) == (
        "piggyback",
        7,
        None,
        None,
    )
    with pytest.raises(UsageError, match="no protocol 'piggyback'"):
        apply(recipes, {"protocol": "piggyback"}, "x")


@pytest.mark.parametrize("name", ["fine-tuning", "spottune", "piggyback", "l2-sp"])
def test_a_suite_with_recipes_offers_no_other_protocols(name: str) -> None:
    suite, recipes = suites.find("fine-grained"), find(name).recipes
    said = r"no protocol 'released' on the suite fine-grained \(it has: paper, piggyback\)"
    with pytest.raises(UsageError, match=said):
        apply(recipes, {"protocol": "released"}, f"method '{name}'", suite)
    if "released" in recipes:
        assert apply(recipes, {"protocol": "released"}, name).protocol == "released"


def test_a_training_is_as_long_as_epochs_or_steps_say() -> None:
    assert apply(RECIPES, parse_settings(["steps=2"]), "x").epochs is None
    assert "steps" not in apply(RECIPES, parse_settings(["epochs=2"]), "x").as_json()
    for both in (["steps=2", "epochs=3"], ["steps=null"]):
        with pytest.raises(UsageError, match="epochs"):
            apply(RECIPES, parse_settings(both), "x")
