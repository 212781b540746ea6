"""The difference of two rows on the same images: is one better, or is it noise?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decathlon.scoring import intervals, setups
from decathlon.scoring.entries import Entry
from decathlon.scoring.rounding import Pair
from decathlon.suites.base import Suite


@dataclass(frozen=True)
class Difference:
    """One quantity of two rows.

    Attributes:
        a: Its value for the first.
        b: Its value for the second.
        ci: 95 % interval of a - b.
        probability: Probability that the first is better, a tie counted half.
    """

    a: float
    b: float
    ci: Pair
    probability: float

    @property
    def difference(self) -> float:
        """How far the first is above the second."""
        return self.a - self.b

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 0."""
        return self.ci[0] <= 0 <= self.ci[1]

    def as_json(self) -> dict[str, object]:
        """Returns it under the names that JSON has."""
        keys = ("a", "b", "difference", "ci", "probability", "within_noise")
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True)
class ToBaseline:
    """How a row's mean accuracy differs from that of the baseline, on the same images.

    Attributes:
        name: Name of the baseline.
        baseline: Its label.
        domains: The domains that both have, which the means are over.
        mean: The difference, in accuracy points.
        unlike: What the baseline has another of: ``source network``, ``crop``.
    """

    name: str
    baseline: str
    domains: tuple[str, ...]
    mean: Difference
    unlike: tuple[str, ...] = ()


def to_baseline(entry: Entry, base: Entry, suite: Suite) -> ToBaseline | None:
    """Compares the mean accuracy of a row with that of the baseline.

    Returns:
        The difference, or None where they have no domain in common.
    """
    domains = suite.in_order(set(entry.domains) & set(base.domains))
    if not domains:
        return None
    mean, _ = differences((entry, base), domains, {}, None, suite)
    unlike = setups.unlike(entry.setup, base.setup)
    return ToBaseline(base.name, base.label, tuple(domains), mean, unlike)


def differences(
    pair: Sequence[Entry],
    domains: Sequence[str],
    e_max: Mapping[str, float],
    base: Entry | None,
    suite: Suite,
) -> tuple[Difference, dict[str, Difference]]:
    """Returns the difference in the score or mean accuracy, and those in the accuracies.

    Args:
        pair: The two rows, of the same images.
        domains: The domains to compare, which both have.
        e_max: E_max by scored domain among them.
        base: The row that ``e_max`` was computed from, if any; it is redrawn too.
        suite: The suite; without a score, the mean accuracy over ``domains`` is compared.
    """
    draws = intervals.draw(pair, e_max, base)
    means = [entry.mean_errors() for entry in pair]
    percent = [{name: 100 * (1 - mean[name]) for name in domains} for mean in means]

    def difference(a: float, b: float, gap: intervals.Floats) -> Difference:
        better = float((gap > 0).mean() + (gap == 0).mean() / 2)
        return Difference(a, b, intervals.interval(gap), better)

    gaps = {name: draws[0].accuracy[name] - draws[1].accuracy[name] for name in domains}
    if suite.score:
        a, b = (entry.score(e_max) or 0.0 for entry in pair)
        score = difference(a, b, draws[0].score - draws[1].score)
    else:
        a, b = (math.fsum(one.values()) / len(one) for one in percent)
        score = difference(a, b, np.mean(list(gaps.values()), axis=0))
    return score, {
        name: difference(percent[0][name], percent[1][name], gap) for name, gap in gaps.items()
    }
