"""How the settings of a trial were chosen: by accuracy on val among points of a space."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from decathlon.common.strict import StrictModel
from decathlon.common.text import plural

Sampler = Literal["grid", "draw", "optuna"]


class Selection(StrictModel):
    """The choice of settings that a trial was trained with.

    Attributes:
        space: The values of each setting, or how they are drawn, such as ``log:0.001:0.1``.
        sampler: Where the points come from: a grid, draws that depend on the seed, or Optuna.
        trials: Number of points that were tried, those that failed included.
        rule: How one of them was chosen, in words.
        split: The split whose accuracy decided.
        chosen: The value of each setting at the chosen point.
    """

    space: dict[str, list[Any] | str]
    sampler: Sampler
    trials: Annotated[int, Field(ge=1)]
    rule: str
    split: Literal["val"] = "val"
    chosen: dict[str, Any]

    def __str__(self) -> str:
        """Returns it in a few words: ``tuned, 20 trials``."""
        return f"tuned, {plural(self.trials, 'trial')}"

    @property
    def space_text(self) -> str:
        """The space in words: ``lr 0.01, 0.1; weight_decay log:0.0001:0.01``."""
        return "; ".join(
            f"{name} {how if isinstance(how, str) else ', '.join(map(value_text, how))}"
            for name, how in self.space.items()
        )

    @property
    def chosen_text(self) -> str:
        """The chosen values in words: ``lr 0.01, weight_decay 0.0005``."""
        return ", ".join(f"{name} {value_text(value)}" for name, value in self.chosen.items())


def value_text(value: Any) -> str:
    """Returns a setting's value as text: ``0.01``, ``source``, ``[0.5,0.75]``."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value if isinstance(value, str) else text


def procedure(selection: Selection | None) -> dict[str, Any] | None:
    """Returns all of a selection but its outcome; None where the settings were given."""
    return None if selection is None else selection.model_dump(exclude={"chosen"})


def before(selection: Selection | None, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recipe as it was before a selection: without the settings that were chosen.

    Each domain and seed may have values of its own in the place of these.
    """
    found = dict(recipe)
    for name in () if selection is None else selection.chosen:
        setting, _, domain = name.partition(".")
        if domain and isinstance(found.get(setting), Mapping):
            found[setting] = {key: v for key, v in found[setting].items() if key != domain}
        else:
            found.pop(setting, None)
    return found
