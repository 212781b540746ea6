"""How sure is the order of the runs: intervals of ranks, and which runs cannot be told apart."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from decathlon.scoring import intervals
from decathlon.scoring.difference import differences
from decathlon.scoring.entries import Entry
from decathlon.suites.base import Suite

DRAWS = 2000
"""Draws of an interval of ranks, which are whole numbers: a fifth of the score's do."""

Ranks = tuple[int, int]
"""The lowest and the highest rank of an interval; 1 is best."""


def rank_intervals(
    entries: Sequence[Entry], e_max: Mapping[str, float], base: Entry | None, suite: Suite
) -> list[Ranks]:
    """Returns the 95 % intervals of the ranks of rows by score, or by mean accuracy.

    The scores of all rows are drawn together, as for an interval of the score: see
    :mod:`decathlon.scoring.intervals`. Rows that are equal in a draw have all ranks that they
    share.

    Args:
        entries: The rows; in a suite without a score, all with the same domains.
        e_max: E_max by scored domain.
        base: The row that ``e_max`` was computed from, if any; it is redrawn too.
        suite: The suite.
    """
    drawn = intervals.draw(entries, e_max, base, DRAWS)
    values = np.stack(
        [
            one.score if suite.score else np.mean(list(one.accuracy.values()), axis=0)
            for one in drawn
        ]
    )
    tail = 50 * (1 - intervals.LEVEL)
    found = []
    for own in values:
        best, worst = 1 + (values > own).sum(axis=0), (values >= own).sum(axis=0)
        low = np.percentile(best, tail, method="inverted_cdf")
        high = np.percentile(worst, 100 - tail, method="inverted_cdf")
        found.append((int(low), int(high)))
    return found


def joined(
    entries: Sequence[Entry],
    domains: Sequence[str],
    e_max: Mapping[str, float],
    base: Entry | None,
    suite: Suite,
) -> list[tuple[int, ...]]:
    """Returns the largest groups of rows in which no two can be told apart.

    Two rows can be told apart if the interval of their paired difference in score or mean
    accuracy leaves out 0, at a level of 95 % over all pairs: Holm, A simple sequentially rejective
    multiple test procedure (1979).

    Args:
        entries: The rows.
        domains: The domains to compare, which all have.
        e_max: E_max by scored domain among them.
        base: The row that ``e_max`` was computed from, if any.
        suite: The suite.

    Returns:
        Places of the rows of each group of at least two, in ascending order.
    """
    pairs = list(combinations(range(len(entries)), 2))
    p_values = []
    for pair in pairs:
        score, _ = differences([entries[i] for i in pair], domains, e_max, base, suite)
        # Below p, the interval of level 1 - p leaves out 0.
        p_values.append(2 * min(score.probability, 1 - score.probability))
    apart = holm(p_values, 1 - intervals.LEVEL)
    alike = [set(pair) for pair, told in zip(pairs, apart, strict=True) if not told]
    groups: list[set[int]] = []
    for place in range(len(entries)):
        near = {i for pair in alike if place in pair for i in pair}
        found = [*groups, {place}, *(group & near | {place} for group in groups)]
        distinct = [one for i, one in enumerate(found) if one not in found[:i]]
        groups = [one for one in distinct if not any(one < other for other in distinct)]
    return sorted(tuple(sorted(group)) for group in groups if len(group) > 1)


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Returns which hypotheses are rejected, at a level for all of them together."""
    rejected = [False] * len(p_values)
    for done, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[place] > level / (len(p_values) - done):
            break
        rejected[place] = True
    return rejected
