"""The entries of a leaderboard: the records of one row on one split."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from decathlon.common.errors import ResultError, UsageError, nearest
from decathlon.common.files import digest_of
from decathlon.results.records import (
    RECORD,
    RunRecord,
    check_placed,
    find_records,
    read_placed,
    read_record,
    split_of,
    suites_in,
)
from decathlon.scoring import setups
from decathlon.scoring.integrity import check_predictions, check_same_data
from decathlon.scoring.setups import Setup
from decathlon.suites import registry
from decathlon.suites.base import Suite
from decathlon.suites.score import domain_points
from decathlon.suites.subset import Subset

MIN_SEEDS = 5
"""From this many repetitions on, intervals cover the choice of seeds, not of images only."""
Errors = dict[str, float]
"""Error in [0, 1] by domain."""
ALL = "all"
"""In place of a suite's name, every installed suite."""


class Repetition(NamedTuple):
    """What tells the trials of one setup on one domain apart.

    Attributes:
        seed: Their seed.
        draw: Number of the draw of their subset of the training images; 0 for all images.
    """

    seed: int
    draw: int

    def __str__(self) -> str:
        """Returns it in words: ``seed 0``, or ``seed 0 of draw 1``."""
        return f"seed {self.seed}" + (f" of draw {self.draw}" if self.draw else "")


@dataclass(frozen=True)
class Entry:
    """The finished trials of one name on one split that were run with one setup.

    Attributes:
        name: Folder name under RESULTS: the method's, or a variant's.
        label: The name, with what tells its setups apart where it has several.
        setup: How the records were made.
        by_repetition: Record by seed and draw, and by domain.
    """

    name: str
    label: str
    setup: Setup
    by_repetition: dict[Repetition, dict[str, RunRecord]]

    @property
    def records(self) -> list[RunRecord]:
        """All records, by repetition and domain, those of repetitions that do not count too."""
        return [record for own in self.by_repetition.values() for record in own.values()]

    @cached_property
    def used(self) -> list[RunRecord]:
        """The records that the row rests on, by repetition and domain.

        Those of the counted repetitions, labels known or not; all where no label is known.
        """
        counted = self.counted or self.by_repetition
        own = [record for one in counted for record in self.by_repetition[one].values()]
        return list({id(record): record for record in (*own, *self.averaged)}.values())

    @property
    def averaged(self) -> list[RunRecord]:
        """The counted records with known labels; one may stand for several repetitions."""
        return [record for own in self.counted.values() for record in own.values()]

    @cached_property
    def known(self) -> dict[Repetition, dict[str, RunRecord]]:
        """The records with known labels, by repetition and domain.

        Where nothing was trained (the source network on its own domain) seed and draw
        play no part, so that one record stands for all repetitions.
        """
        known = {
            one: {name: r for name, r in records.items() if r.correct is not None}
            for one, records in self.by_repetition.items()
        }
        untrained = {
            name: r for records in known.values() for name, r in records.items() if not r.trained
        }
        return {one: {**untrained, **records} for one, records in known.items()}

    @cached_property
    def counted(self) -> dict[Repetition, dict[str, RunRecord]]:
        """The repetitions that the row is the mean of: those that cover the most domains.

        A repetition that lacks a domain others have is under way or failed; the mean over
        it would mix sets of domains. Nothing of a row comes from it.
        """
        covered = {one: frozenset(records) for one, records in self.known.items()}
        most = max(covered.values(), key=len)
        return {one: self.known[one] for one in covered if most and covered[one] == most}

    @property
    def domains(self) -> list[str]:
        """The domains with known labels, in no particular order."""
        return list(next(iter(self.counted.values()), {}))

    @property
    def unknown(self) -> list[str]:
        """Domains that the row predicts on images whose labels are unknown."""
        return sorted({r.domain for r in self.used} - set(self.domains))

    def errors(self, one: Repetition, domains: Collection[str] | None = None) -> Errors:
        """Returns the errors of one counted repetition, of ``domains`` only if given."""
        found = {}
        for name, record in self.counted[one].items():
            assert record.correct is not None
            assert record.total is not None
            if domains is None or name in domains:
                found[name] = (record.total - record.correct) / record.total
        return found

    def mean_errors(self) -> Errors:
        """Returns the mean error over the counted repetitions by domain."""
        found = [self.errors(one) for one in self.counted]
        return {name: math.fsum(e[name] for e in found) / len(found) for name in self.domains}

    def score(self, e_max: Mapping[str, float]) -> float | None:
        """Returns the mean over the counted repetitions of each one's score.

        Returns:
            The score, or None where nothing is scored.
        """
        if not any(name in e_max for name in self.domains):
            return None
        points = [domain_points(self.errors(one, e_max), e_max) for one in self.counted]
        return math.fsum(math.fsum(p.values()) for p in points) / len(points)


def suites_of(results: Path | None, wanted: str | None = None) -> list[Suite]:
    """Returns the suites to score.

    Args:
        results: The folder of records.
        wanted: A suite's name, or ``all`` for every installed one; by default, those of the
            records, and the default suite where there are none.

    Raises:
        UsageError: There is no such suite, or a record's is not installed.
    """
    if wanted == ALL:
        names = list(registry.registered())
    elif wanted is not None:
        names = [wanted]
    else:
        names = suites_in(results) if results is not None else []
    return [registry.find(name) for name in names or [registry.DEFAULT.name]]


def suite_of(results: Path | None) -> Suite:
    """Returns the one suite of the records under ``results``.

    Raises:
        UsageError: They are of several suites, or of one that is not installed.
    """
    found = suites_of(results)
    if len(found) > 1:
        raise UsageError(
            f"{results}: holds records of {' and '.join(suite.name for suite in found)}; choose"
            " one with --suite NAME"
        )
    return found[0]


def read_entries(results: Path, split: str, suite: Suite) -> dict[str, Entry]:
    """Reads all records of a suite on one split under ``results``, by label.

    Raises:
        ResultError: ``results`` is no folder, a record is not valid or not in its own
            folder, its predictions are not those that it was written with, or the records
            of a domain were evaluated on different data.
    """
    if not results.is_dir():
        raise ResultError(f"{results}: no such results folder; `decathlon run` makes one")
    paths = [path for path in find_records(results) if split_of(path) == split]
    read = (read_placed(results, path) for path in paths)
    records = [record for record in read if record.suite == suite.name]
    by_name: dict[str, list[RunRecord]] = {}
    for record in records:
        by_name.setdefault(record.name, []).append(record)
    check_predictions(results, records)
    check_same_data(records)
    sources = [record.source for record in records]
    entries: dict[str, Entry] = {}
    for name, own in by_name.items():
        parts = setups.by_setup(own, suite)
        labels = setups.row_labels(name, [setup for setup, _ in parts], sources)
        for label, (setup, part) in zip(labels, parts, strict=True):
            if label in entries or (label != name and label in by_name):  # like another name
                digest = digest_of([str(record.folder) for record in part])
                label += f" {digest[: setups.SHORT]}"  # noqa: PLW2901
            entries[label] = Entry(name, label, setup, by_repetition(part))
    return entries


def entry_of(record: RunRecord, label: str, suite: Suite) -> Entry:
    """Returns the entry of one record alone."""
    ((setup, own),) = setups.by_setup([record], suite)
    return Entry(record.name, label, setup, by_repetition(own))


def read_trial(path: Path) -> tuple[Path, RunRecord]:
    """Reads the record of one trial, and returns its results folder too.

    Args:
        path: The trial's folder, or its record.

    Raises:
        ResultError: There is no valid record, or it lies elsewhere than it says.
    """
    path = path.absolute()
    folder = path.parent if path.name == RECORD else path
    if not (folder / RECORD).exists():
        raise ResultError(
            f"{folder}: holds no {RECORD}; give the folder of a finished trial, such as"
            " results/METHOD/DOMAIN/test/seed0"
        )
    record = read_record(folder / RECORD)
    results = Path(*folder.parts[: -len(record.folder.parts)])
    check_placed(results, folder / RECORD, record)
    return results, record


def by_repetition(records: list[RunRecord]) -> dict[Repetition, dict[str, RunRecord]]:
    """Returns the records of one setup by seed and draw, and by domain."""
    found: dict[Repetition, dict[str, RunRecord]] = {}
    for record in records:
        draw = Subset.named(record.subset).draw if record.subset else 0
        found.setdefault(Repetition(record.seed, draw), {})[record.domain] = record
    return dict(sorted(found.items()))


def find_entry(
    entries: Mapping[str, Entry], wanted: str, results: Path | None, split: str, role: str = ""
) -> Entry:
    """Returns the entry of a label, or of a name that was run with one setup.

    Args:
        entries: The entries by label.
        wanted: The label or name.
        results: The folder they were read from.
        split: Their split.
        role: What the name is wanted for, for the message.

    Raises:
        UsageError: There is none of that name, or it was run with several setups.
    """
    if wanted in entries:
        return entries[wanted]
    named = [one for one in entries.values() if one.name == wanted]
    if not named:
        raise UsageError(_unknown(entries, wanted, results, split, role))
    if len(named) == 1:
        return named[0]
    own = setups.all_differing([one.setup for one in named], sources_of(entries.values()))
    lines = [
        f"  {one.label}" + ("" if one.label == f"{wanted} [{text}]" else f": {text}")
        for one, text in zip(named, own, strict=True)
    ]
    listed = "\n".join(lines)
    raise UsageError(
        f"{role}'{wanted}' was run with {len(named)} setups, each of them a row of its own;"
        f" name one of these in full:\n{listed}"
    )


def _unknown(
    entries: Mapping[str, Entry], wanted: str, results: Path | None, split: str, role: str
) -> str:
    """Returns a message that there is no entry of a name, and what there is."""
    known = ", ".join(entries) or "none"
    where = f"in {results} " if results is not None else ""
    text = f"no {split} results of {role}'{wanted}'{nearest(wanted, entries)}"
    text += f" ({where}there are: {known})"
    if results is None:
        return text
    if others := {split_of(p) for p in find_records(results) if p.parts[-5] == wanted} - {split}:
        return f"{text}; '{wanted}' has results of {' and '.join(sorted(others))}"
    return text if entries else f"{text}; {hint_on(results, split)}"


def sources_of(entries: Iterable[Entry]) -> list[str]:
    """Returns the digests of the source networks that entries start from, each once."""
    return list(dict.fromkeys(one.setup.source for one in entries if one.setup.source))


def hint_on(results: Path, split: str, suite: Suite | None = None) -> str:
    """Returns what to do where ``results`` has no record of a split, or of a suite."""
    names = suites_in(results)
    if suite is not None and names and suite.name not in names:
        return f"{results} has records of {' and '.join(names)}; add --suite NAME"
    others = Counter(split_of(path) for path in find_records(results))
    del others[split]  # of another suite
    if others:
        found = " and ".join(f"{count} of {name}" for name, count in sorted(others.items()))
        options = " or ".join(f"--split {name}" for name in sorted(others))
        return f"{results} has {found}; add {options}"
    if next(results.glob(f"*/*/seed*/{RECORD}"), None):
        return f"{results} is the folder of one method; give the folder above it, {results.parent}"
    if next(find_records(results / "results"), None):
        return f"{results} has no records, but {results / 'results'} has; give that folder"
    return (
        f"{results} has no runs yet; make some with `decathlon run --method fine-tuning --source"
        f" SOURCE.safetensors --data DATA --split {split} --results {results}`"
    )
