"""Two methods on the same images: is one better, or is it noise?"""

from dataclasses import dataclass
from pathlib import Path

from decathlon.common.errors import ResultError, UsageError, nearest
from decathlon.scoring import setups
from decathlon.scoring.audit import Answers, audit
from decathlon.scoring.board import check_official, defining_e_max
from decathlon.scoring.integrity import check_same_images
from decathlon.scoring.notes import common_notes
from decathlon.scoring.rows import Pair, plug_in_score
from decathlon.scoring.trials import MIN_SEEDS, Trials, find_trials, read_trials, sources_of
from decathlon.suites.base import SPLITS
from decathlon.suites.visual_decathlon import DOMAINS


@dataclass(frozen=True)
class Difference:
    """One quantity of two names.

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


@dataclass(frozen=True)
class Comparison:
    """A paired comparison, on the domains that both names have.

    Attributes:
        a: The first name.
        b: The second name.
        split: Split of the records.
        baseline: Name that defines E_max, or None for the official values.
        score: S over the scored domains among ``accuracy``.
        accuracy: Accuracy in percent by domain.
        notes: What a reader has to know.
    """

    a: str
    b: str
    split: str
    baseline: str | None
    score: Difference
    accuracy: dict[str, Difference]
    notes: tuple[str, ...]


def compare(
    a: str,
    b: str,
    results: Path,
    split: str = "test",
    baseline: str | None = None,
    answers: Answers | None = None,
) -> Comparison:
    """Compares two names, paired on images.

    Args:
        a: The first name under ``results``, or a row's label.
        b: The second.
        results: The folder of records.
        split: Split whose records are read.
        baseline: Name whose mean errors define E_max; by default E_max is official.
        answers: Labels to check every record against; the digests of predictions are
            checked in any case.

    Raises:
        UsageError: Unknown name, split or baseline, or a name that was run with several
            setups.
        ResultError: A record is not valid or is not what its predictions give, the two
            share no domain with known labels, they saw different images, or other than
            the official data is scored without a baseline.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split '{split}'{nearest(split, SPLITS)} ({', '.join(SPLITS)})")
    trials = read_trials(results, split)
    pair = [_named(trials, name, split, results) for name in (a, b)]
    if baseline is None:
        check_official(pair)
    e_max, base = defining_e_max(trials, baseline, split, results)
    both = set(pair[0].domains) & set(pair[1].domains)
    domains = tuple(d for d in (*DOMAINS, *sorted(both - set(DOMAINS))) if d in both)
    if not domains:
        raise ResultError(
            f"'{pair[0].label}' and '{pair[1].label}' have no domain with known {split} labels in"
            " common"
        )
    entrants = [*pair, *([base] if base else [])]
    checked = audit(results, [r for t in entrants for r in t.used], answers) if answers else []
    _check_same_images(results, domains, entrants)
    scored = {name: limit for name, limit in e_max.items() if name in both}
    score, accuracy = _differences(pair, domains, scored, base)
    notes = [*_notes(pair, domains, scored, score), *common_notes(entrants, base), *checked]
    labels = pair[0].label, pair[1].label
    return Comparison(*labels, split, base.label if base else None, score, accuracy, tuple(notes))


def _named(trials: dict[str, Trials], name: str, split: str, results: Path) -> Trials:
    try:
        return find_trials(trials, name, results, split)
    except UsageError as error:
        if any(one.name == name for one in trials.values()):
            raise
        raise UsageError(f"{error}; published rows have no predictions to compare") from None


def _check_same_images(results: Path, domains: tuple[str, ...], entrants: list[Trials]) -> None:
    """Raises ResultError unless all records of these domains are of the same images."""
    records = [s[d] for t in entrants for s in t.counted.values() for d in domains if d in s]
    unsure = check_same_images(results, records)
    if unsure:
        raise ResultError("\n".join(unsure))


def _differences(
    pair: list[Trials], domains: tuple[str, ...], e_max: dict[str, float], base: Trials | None
) -> tuple[Difference, dict[str, Difference]]:
    # Imported here for the sake of --help, as in the other commands.
    from decathlon.scoring import statistics

    draws = statistics.draw(pair, e_max, base)
    a, b = (plug_in_score(trials, e_max) or 0.0 for trials in pair)

    def difference(a: float, b: float, gap: statistics.Floats) -> Difference:
        better = float((gap > 0).mean() + (gap == 0).mean() / 2)
        return Difference(a, b, statistics.interval(gap), better)

    score = difference(a, b, draws[0].score - draws[1].score)
    means = [trials.mean_errors() for trials in pair]
    return score, {
        name: difference(
            100 * (1 - means[0][name]),
            100 * (1 - means[1][name]),
            draws[0].accuracy[name] - draws[1].accuracy[name],
        )
        for name in domains
    }


def _notes(
    pair: list[Trials], domains: tuple[str, ...], e_max: dict[str, float], score: Difference
) -> list[str]:
    notes = []
    if score.within_noise:
        notes.append("The difference in S is within noise: its interval holds 0.")
    groups = setups.groups([trials.setup for trials in pair])
    if len(set(groups.values())) > 1:
        sources = sources_of(pair)
        said = [f"{t.label} with {setups.in_words(t.setup, sources)}" for t in pair]
        notes.append(f"They start from different networks, {' and '.join(said)}.")
    for one, other in (pair, reversed(pair)):
        lacking = sorted(set(other.domains) - set(one.domains))
        if lacking:
            notes.append(f"{one.label} lacks {', '.join(lacking)}: left out for both.")
    unscored = [name for name in domains if name not in e_max]
    if unscored:
        notes.append(f"{', '.join(unscored)}: without E_max, not part of S.")
    seeds = [len(trials.counted) for trials in pair]
    covers = "images and seeds" if min(seeds) >= MIN_SEEDS else "images only"
    if min(seeds) < MIN_SEEDS <= max(seeds):
        covers = "images, and seeds where there are five"
    notes.append(f"Intervals are 95 %, paired on images, and cover the choice of {covers}.")
    return notes
