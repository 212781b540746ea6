"""Two methods on the same images: is one better, or is it noise?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from decathlon.common.errors import ResultError, UsageError, check_known
from decathlon.scoring import setups
from decathlon.scoring.audit import audit
from decathlon.scoring.board import check_official, defining_e_max
from decathlon.scoring.difference import Difference, differences
from decathlon.scoring.entries import (
    MIN_SEEDS,
    Entry,
    find_entry,
    read_entries,
    sources_of,
    suite_of,
)
from decathlon.scoring.integrity import check_same_images
from decathlon.scoring.notes import common_notes
from decathlon.suites.base import SPLITS, Suite
from decathlon.suites.subset import size_in_words

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers


@dataclass(frozen=True)
class Comparison:
    """A paired comparison, on the domains that both names have.

    Attributes:
        suite: The suite.
        a: The first name.
        b: The second name.
        split: Split of the records.
        baseline: Name that defines E_max, or None for the official values.
        score: The score over the scored domains among ``accuracy``, or the mean accuracy
            where the suite has no score.
        accuracy: Accuracy in percent by domain.
        notes: What a reader has to know.
    """

    suite: Suite
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
    answers: "Answers | None" = None,
    suite: Suite | None = None,
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
        suite: The suite; by default, that of the records.

    Raises:
        UsageError: Unknown name, split or baseline, a name that was run with several
            setups, or records of several suites.
        ResultError: A record is not valid or is not what its predictions give, the two
            share no domain with known labels, they saw different images, or other than
            the official data is scored without a baseline.
    """
    check_known("split", split, SPLITS)
    suite = suite or suite_of(results)
    entries = read_entries(results, split, suite)
    pair = [_named(entries, name, split, results) for name in (a, b)]
    if baseline is None:
        check_official(pair, suite)
    e_max, base = defining_e_max(entries, baseline, split, suite, results)
    both = set(pair[0].domains) & set(pair[1].domains)
    domains = tuple(suite.in_order(both))
    if not domains:
        raise ResultError(
            f"'{pair[0].label}' and '{pair[1].label}' have no domain with known {split} labels in"
            " common"
        )
    entrants = [*pair, *([base] if base else [])]
    checked = audit(results, [r for t in entrants for r in t.used], answers) if answers else []
    compared = [r for one in entrants for r in one.averaged if r.domain in domains]
    if unsure := check_same_images(results, compared):
        raise ResultError("\n".join(unsure))
    scored = {name: limit for name, limit in e_max.items() if name in both}
    score, accuracy = differences(pair, domains, scored, base, suite)
    notes = [
        *_notes(pair, domains, scored, score, suite),
        *common_notes(entrants, base),
        *checked,
    ]
    labels = pair[0].label, pair[1].label
    label = base.label if base else None
    return Comparison(suite, *labels, split, label, score, accuracy, tuple(notes))


def _named(entries: dict[str, Entry], name: str, split: str, results: Path) -> Entry:
    try:
        return find_entry(entries, name, results, split)
    except UsageError as error:
        if any(one.name == name for one in entries.values()):
            raise
        raise UsageError(f"{error}; published rows have no predictions to compare") from None


def _notes(
    pair: list[Entry],
    domains: tuple[str, ...],
    e_max: dict[str, float],
    score: Difference,
    suite: Suite,
) -> list[str]:
    heading = suite.score.heading if suite.score else "mean accuracy"
    notes: list[str] = []
    if score.within_noise:
        notes.append(f"The difference in {heading} is within noise: its interval holds 0.")
    groups = setups.source_groups([entry.setup for entry in pair])
    if len(set(groups.values())) > 1:
        sources = sources_of(pair)
        texts = [f"{one.label} with {setups.source_in_words(one.setup, sources)}" for one in pair]
        notes.append(f"They start from different networks, {' and '.join(texts)}.")
    if pair[0].setup.subset != pair[1].setup.subset:
        texts = [f"{one.label} on {size_in_words(one.setup.subset)}" for one in pair]
        notes.append(f"They were trained on different numbers of images: {', '.join(texts)}.")
    for one, other in (pair, reversed(pair)):
        if lacking := sorted(set(other.domains) - set(one.domains)):
            notes.append(f"{one.label} lacks {', '.join(lacking)}: left out for both.")
    unscored = [name for name in domains if name not in e_max]
    if suite.score and unscored:
        notes.append(f"{', '.join(unscored)}: without E_max, not part of {heading}.")
    seeds = [len(entry.counted) for entry in pair]
    covers = "images and seeds" if min(seeds) >= MIN_SEEDS else "images only"
    if min(seeds) < MIN_SEEDS <= max(seeds):
        covers = "images, and seeds where there are five"
    if suite.score is None:
        notes.append("Accuracies are in percent, differences in accuracy points.")
    notes.append(f"Intervals are 95 %, paired on images, and cover the choice of {covers}.")
    return notes
