"""Intervals of scores and of accuracies, and paired comparisons.

Images are redrawn: with ``k`` of ``n`` images right, an accuracy is drawn from
Jeffreys' posterior Beta(k + 1/2, n - k + 1/2), independently for each domain. A
score is convex in the errors and clipped at 0, so that a plain bootstrap is biased and
"basic" intervals miss; reported are the percentiles of the draws beside the plug-in
score, which stays uncorrected.

Several records of one domain (seeds, two methods, a baseline) saw the same images
and are drawn together: images are grouped by which of the records got them right,
and the groups' shares are drawn from a Dirichlet posterior. Alone, each record
still has exactly Jeffreys' posterior.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decathlon.results.records import RunRecord
from decathlon.scoring.entries import MIN_SEEDS, Entry, entry_of
from decathlon.suites.base import Suite
from decathlon.suites.score import PERFECT

DRAWS = 10_000
LEVEL = 0.95
BLOCK = 128
"""Groups of images that are drawn at once: their weights stay in the processor's cache."""
GENERATOR = 20170710
"""Seed of the fixed generator: equal records give equal intervals."""

Floats = NDArray[np.float64]


def interval(draws: Floats) -> tuple[float, float]:
    """Returns the equal-tailed 95 % percentile interval of ``draws`` (one-dimensional)."""
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)


def bits_of(record: RunRecord) -> NDArray[np.uint8]:
    """Unpacks a record's correctness to 0 or 1 per image."""
    assert record.correctness is not None
    assert record.total is not None
    packed = np.frombuffer(bytes.fromhex(record.correctness), dtype=np.uint8)
    return np.unpackbits(packed, count=record.total)


def draw_errors(bits: NDArray[np.uint8], rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Draws the errors of several records on the same images.

    The shares of the groups of images are Dirichlet with each group's count; a
    further group of weight 1, in which each record is right in a share drawn from
    Beta(1/2, 1/2), carries Jeffreys' prior of every record.

    Args:
        bits: 0 or 1, records x images.
        rng: The generator.
        draws: Number of draws.

    Returns:
        Errors in [0, 1], records x draws.
    """
    num_records = len(bits)
    keys = np.ascontiguousarray(np.packbits(bits, axis=0).T)
    rows = keys.view(np.dtype((np.void, keys.shape[1])))[:, 0]
    _, first, counts = np.unique(rows, return_index=True, return_counts=True)
    wrong = 1.0 - bits[:, first]  # records x groups
    of_wrong, of_all = np.zeros((num_records, draws)), np.zeros(draws)
    block = np.empty((min(BLOCK, len(counts)), draws))
    for start in range(0, len(counts), BLOCK):
        weights = block[: len(counts) - start]
        for count, own in zip(counts[start : start + BLOCK], weights, strict=True):
            if count == 1:  # a gamma of shape 1 is an exponential, which is drawn faster
                rng.standard_exponential(out=own)
            else:
                rng.standard_gamma(float(count), out=own)
        of_wrong += wrong[:, start : start + BLOCK] @ weights
        of_all += weights.sum(axis=0)
    prior = rng.standard_exponential(draws)
    prior_wrong = rng.beta(0.5, 0.5, size=(num_records, draws))
    drawn: Floats = (of_wrong + prior * prior_wrong) / (of_all + prior)
    return drawn


def count_intervals(
    counts: Mapping[str, tuple[int, int]], e_max: Mapping[str, float]
) -> tuple[tuple[float, float], dict[str, tuple[float, float]]]:
    """Returns the intervals of one set of predictions.

    Args:
        counts: Images right and images in all, by domain.
        e_max: E_max by scored domain.

    Returns:
        The interval of the score, and that of each accuracy in percent.
    """
    rng = np.random.default_rng(GENERATOR)
    score, accuracy = np.zeros(DRAWS), {}
    for name in sorted(counts):
        correct, total = counts[name]
        right = rng.beta(correct + 0.5, total - correct + 0.5, DRAWS)
        if name in e_max:
            score += PERFECT * np.maximum(0.0, 1 - (1 - right) / e_max[name]) ** 2
        accuracy[name] = interval(100 * right)
    return interval(score), accuracy


@dataclass(frozen=True)
class Draws:
    """Draws of one row.

    Attributes:
        score: The score, one per draw.
        accuracy: Accuracy in percent by domain, one per draw.
    """

    score: Floats
    accuracy: dict[str, Floats]


def _seed_weights(num_seeds: int, rng: np.random.Generator, draws: int) -> Floats:
    """Returns how much each seed counts in each draw, seeds x draws, summing to 1."""
    if num_seeds < MIN_SEEDS:
        return np.full((num_seeds, draws), 1 / num_seeds)
    shares = np.full(num_seeds, 1 / num_seeds)
    counts: Floats = rng.multinomial(num_seeds, shares, size=draws).T / num_seeds
    return counts


def draw(
    entrants: Sequence[Entry],
    e_max: Mapping[str, float],
    baseline: Entry | None = None,
    draws: int = DRAWS,
) -> list[Draws]:
    """Draws the scores and accuracies of one or more rows, jointly.

    Args:
        entrants: The rows; their draws are paired on images.
        e_max: E_max by scored domain.
        baseline: Redraw E_max from this row, paired on images too; None keeps
            ``e_max`` fixed, as the official values are.
        draws: Number of draws.

    Returns:
        The draws of each entrant, in order.
    """
    rng = np.random.default_rng(GENERATOR)
    names = {t.label: t for t in (*entrants, *([baseline] if baseline else []))}
    weights = {name: _seed_weights(len(t.counted), rng, draws) for name, t in names.items()}
    accuracy: dict[str, dict[str, Floats]] = {name: {} for name in names}
    scores = {name: np.zeros(draws) for name in names}
    for domain in sorted({d for t in names.values() for d in t.domains}):
        errors = _domain_errors(domain, list(names.values()), rng, draws)
        limit: float | Floats | None = e_max.get(domain)
        if baseline is not None and limit is not None:
            mean = (weights[baseline.label] * errors[baseline.label]).sum(axis=0)
            limit = np.maximum(2 * mean, np.finfo(float).tiny)
        for name, drawn in errors.items():
            accuracy[name][domain] = 100 * (1 - (weights[name] * drawn).sum(axis=0))
            if limit is not None:
                by_seed = PERFECT * np.maximum(0.0, 1 - drawn / limit) ** 2
                scores[name] += (weights[name] * by_seed).sum(axis=0)
    return [Draws(scores[t.label], accuracy[t.label]) for t in entrants]


def accuracy_interval(record: RunRecord, suite: Suite) -> tuple[float, float] | None:
    """Returns the interval of one record's accuracy in percent; None if labels are unknown."""
    if record.correct is None:
        return None
    (drawn,) = draw([entry_of(record, record.name, suite)], {})
    return interval(drawn.accuracy[record.domain])


def _domain_errors(
    domain: str, entries: list[Entry], rng: np.random.Generator, draws: int
) -> dict[str, Floats]:
    """Draws the errors of all entries that have ``domain``, each seeds x draws.

    A record that stands for several seeds is drawn once.
    """
    records = {id(r): r for t in entries for r in t.averaged if r.domain == domain}
    rows = {key: row for row, key in enumerate(records)}
    drawn = draw_errors(np.stack([bits_of(r) for r in records.values()]), rng, draws)
    return {
        t.label: drawn[[rows[id(seed[domain])] for seed in t.counted.values()]]
        for t in entries
        if domain in t.domains
    }
