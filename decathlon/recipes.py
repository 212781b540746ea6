"""The settings of a method; a documented name for :mod:`decathlon.method.recipe`."""

from decathlon.method.recipe import (
    Count,
    Fraction,
    NonNegative,
    PerDomain,
    Positive,
    Recipe,
    Threshold,
    TuningRecipe,
    Width,
    by_size,
)
from decathlon.suites.base import DEFAULT

__all__ = [
    "DEFAULT",
    "Count",
    "Fraction",
    "NonNegative",
    "PerDomain",
    "Positive",
    "Recipe",
    "Threshold",
    "TuningRecipe",
    "Width",
    "by_size",
]
