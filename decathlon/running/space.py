"""The space of a sweep: which settings take which values, and the points that are tried."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decathlon.common.errors import UsageError, check_known
from decathlon.data.keyed import generator
from decathlon.method.recipe import parse_settings
from decathlon.results.selection import Sampler, value_text

DIGITS = 4
"""Significant digits of a drawn number, so that names and tables show all of it."""
KINDS = ("log", "lin", "int", "choice")

Point = dict[str, Any]
"""A value for each setting."""


@dataclass(frozen=True)
class Draw:
    """How the values of one setting are drawn.

    Attributes:
        kind: ``log`` (evenly on a logarithmic scale), ``lin``, ``int`` or ``choice``.
        low: The lowest value; of a choice, 0.
        high: The highest one; of a choice, 0.
        values: Those of a choice.
    """

    kind: str
    low: float = 0
    high: float = 0
    values: tuple[Any, ...] = ()

    def value(self, uniform: float) -> Any:
        """Returns the value for a number from 0 (included) to 1 (excluded)."""
        if self.kind == "choice":
            return self.values[int(uniform * len(self.values))]
        if self.kind == "int":
            return int(self.low) + int(uniform * (int(self.high) - int(self.low) + 1))
        if self.kind == "log":
            return self.rounded(self.low * (self.high / self.low) ** uniform)
        return self.rounded(self.low + uniform * (self.high - self.low))

    def rounded(self, value: float) -> float:
        """Returns a number of :data:`DIGITS` digits within the limits."""
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that have to be valid for all to be."""
        if self.kind == "choice":
            return self.values
        kind = int if self.kind == "int" else float
        return kind(self.low), kind(self.high)

    def __str__(self) -> str:
        """Returns it as it is written: ``log:0.001:0.1``."""
        if self.kind == "choice":
            return f"choice:{','.join(map(value_text, self.values))}"
        return f"{self.kind}:{self.low:g}:{self.high:g}"


@dataclass(frozen=True)
class Space:
    """What a sweep tries.

    Attributes:
        grid: The values of each setting, every combination of which is a point; or empty.
        draws: How the value of each setting is drawn; or empty.
        trials: Number of points to draw.
        optuna: Let Optuna propose the points, each after the accuracies of those before.
    """

    grid: Mapping[str, tuple[Any, ...]]
    draws: Mapping[str, Draw]
    trials: int = 0
    optuna: bool = False

    @property
    def sampler(self) -> Sampler:
        """Where the points come from."""
        return "optuna" if self.optuna else "draw" if self.draws else "grid"

    def as_json(self) -> dict[str, list[Any] | str]:
        """Returns the settings with their values, or how these are drawn."""
        return {name: list(values) for name, values in self.grid.items()} | {
            name: str(draw) for name, draw in self.draws.items()
        }

    def points(self, seed: int) -> list[Point]:
        """Returns the points, each once. Those that are drawn depend on the seed and their number.

        With Optuna they are not known before; what is returned then are points at all ends of the
        space, which have to be valid for the others to be.
        """
        if self.optuna:
            most = max(len(draw.ends) for draw in self.draws.values())
            found = [
                {name: draw.ends[i % len(draw.ends)] for name, draw in self.draws.items()}
                for i in range(most)
            ]
        elif self.draws:
            found = [
                {
                    name: draw.value(generator(seed, "sweep", number, name).random())
                    for name, draw in self.draws.items()
                }
                for number in range(self.trials)
            ]
        else:
            combined = itertools.product(*self.grid.values())
            found = [dict(zip(self.grid, values, strict=True)) for values in combined]
        return list({json.dumps(point): point for point in found}.values())


def space_of(
    grid: Sequence[str],
    draw: Sequence[str],
    trials: int | None,
    optuna: bool,
    settings: Sequence[str],
) -> Space:
    """Returns the space of ``--grid``, ``--draw``, ``--trials`` and ``--optuna``.

    Args:
        grid: ``FIELD=VALUE,VALUE`` arguments.
        draw: ``FIELD=log:LOW:HIGH`` arguments, and those of the other kinds.
        trials: Number of points to draw.
        optuna: Whether Optuna proposes them.
        settings: ``field=value`` arguments of ``--set``, which hold for all points.

    Raises:
        UsageError: They do not fit together, or one does not have its form.
    """
    if grid and draw:
        raise UsageError(
            "--grid and --draw make two different spaces: use one of them; --draw"
            " FIELD=choice:A,B draws among values"
        )
    if not draw and (trials is not None or optuna):
        option = "--trials" if trials is not None else "--optuna"
        raise UsageError(f"{option} is of drawn points: add --draw, such as --draw lr=log:1e-3:0.1")
    if not grid and not draw:
        raise UsageError(
            "the space is empty: add --grid FIELD=VALUE,VALUE or --draw FIELD=log:LOW:HIGH"
        )
    if draw and trials is None:
        raise UsageError("--draw needs the number of points to draw: add --trials N")
    option, texts = ("--grid", grid) if grid else ("--draw", draw)
    parts = [_split(option, text) for text in texts]
    names = [name for name, _ in parts]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{option} {name}: is given {names.count(name)} times; give it once")
        if name in parse_settings(settings):
            raise UsageError(f"{option} {name}: --set gives it one value; leave one of the two out")
    if draw:
        drawn = {name: _draw(name, text) for name, text in parts}
        return Space({}, drawn, trials or 0, optuna)
    return Space({name: _values(f"--grid {name}={text}", text) for name, text in parts}, {})


def _split(option: str, text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not name or not equals:
        form = "FIELD=VALUE,VALUE" if option == "--grid" else "FIELD=log:LOW:HIGH"
        raise UsageError(f"{option} '{text}': write {option} {form}")
    return name, values


def _values(where: str, text: str) -> tuple[Any, ...]:
    """Parses values between commas: JSON, or words."""
    try:
        found = json.loads(f"[{text}]")
    except (ValueError, RecursionError):
        words = text.split(",")
        if not all(word.strip() for word in words):
            raise UsageError(f"{where}: one of its values is empty; write A,B,C") from None
        found = [parse_settings([f"value={word.strip()}"])["value"] for word in words]
    if not found:
        raise UsageError(f"{where}: has no values, so the space is empty; write A,B,C")
    return tuple(found)


def _draw(name: str, text: str) -> Draw:
    where = f"--draw {name}={text}"
    kind, _, rest = text.partition(":")
    check_known(f"kind of {where}:", kind, KINDS)
    if kind == "choice":
        return Draw(kind, values=_values(where, rest))
    try:
        low, high = (int(word) if kind == "int" else float(word) for word in rest.split(":"))
    except ValueError:
        number = "whole number" if kind == "int" else "number"
        raise UsageError(f"{where}: write {kind}:LOW:HIGH, each a {number}") from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"{where}: LOW and HIGH have to be finite")
    if low > high:
        raise UsageError(f"{where}: LOW is above HIGH; swap them")
    if kind == "log" and low <= 0:
        raise UsageError(f"{where}: a logarithmic scale has no {low:g}; LOW has to be above 0")
    return Draw(kind, low, high)
