"""The user's runs, as a board needs them: all records of one name on one split."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from decathlon.errors import ResultError
from decathlon.records import RunRecord, find_records, read_record

MIN_SEEDS = 5
"""From this many seeds on, intervals cover the choice of seeds, not of images only."""
Errors = dict[str, float]
"""Error in [0, 1] by domain."""


@dataclass(frozen=True)
class Trials:
    """All finished trials of one name on one split.

    Attributes:
        name: Folder name under RESULTS: the method's, or a variant's.
        by_seed: Record by seed and domain.
    """

    name: str
    by_seed: dict[int, dict[str, RunRecord]]

    @property
    def records(self) -> list[RunRecord]:
        """All records, by seed and domain."""
        return [record for seed in self.by_seed.values() for record in seed.values()]

    @cached_property
    def known(self) -> dict[int, dict[str, RunRecord]]:
        """The records with known labels, by seed and domain.

        Where nothing was trained (the source network on its own domain) the seed
        plays no part, so that one record stands for all seeds.
        """
        known = {
            seed: {name: r for name, r in records.items() if r.correct is not None}
            for seed, records in self.by_seed.items()
        }
        untrained = {
            name: r for records in known.values() for name, r in records.items() if not r.trained
        }
        return {seed: {**untrained, **records} for seed, records in known.items()}

    @cached_property
    def counted(self) -> dict[int, dict[str, RunRecord]]:
        """The seeds that S is the mean of: those that cover the most domains.

        A seed that lacks a domain others have is under way or failed; the mean over
        it would mix sets of domains.
        """
        covered = {seed: frozenset(records) for seed, records in self.known.items()}
        most = max(covered.values(), key=len)
        return {seed: self.known[seed] for seed in covered if most and covered[seed] == most}

    @property
    def domains(self) -> list[str]:
        """The domains that S rests on, in no particular order."""
        return list(next(iter(self.counted.values()), {}))

    @property
    def unknown(self) -> list[str]:
        """Domains predicted on images whose labels are unknown."""
        known = {name for records in self.known.values() for name in records}
        return sorted({r.domain for r in self.records} - known)

    def errors(self, seed: int, domains: Collection[str] | None = None) -> Errors:
        """Returns the errors of one counted seed, of ``domains`` only if given."""
        found = {}
        for name, record in self.counted[seed].items():
            if record.correct is None or record.total is None:
                raise AssertionError("a counted record has known labels")
            if domains is None or name in domains:
                found[name] = (record.total - record.correct) / record.total
        return found

    def mean_errors(self) -> Errors:
        """Returns the mean error over the counted seeds by domain."""
        seeds = [self.errors(seed) for seed in self.counted]
        return {name: math.fsum(s[name] for s in seeds) / len(seeds) for name in self.domains}


def _placed(results: Path, path: Path) -> RunRecord:
    record = read_record(path)
    if path.parent != results / record.folder:
        raise ResultError(
            f"{path}: name, domain, split or seed: the record says it belongs in"
            f" {record.folder}; move its folder there, or delete it"
        )
    return record


def _check_totals(trials: list[Trials]) -> None:
    totals: dict[str, Counter[int]] = defaultdict(Counter)
    for record in (r for t in trials for r in t.records if r.total is not None):
        totals[record.domain][record.total or 0] += 1
    for trial in trials:
        for record in trial.records:
            counts = totals[record.domain]
            usual = counts.most_common(1)[0][0] if counts else None
            if record.total not in (None, usual):
                raise ResultError(
                    f"{record.folder}: total: evaluated on {record.total} images of"
                    f" {record.domain}, other records on {usual}; results of different data"
                    " do not go on one board: keep them in separate folders"
                )


def read_trials(results: Path, split: str) -> dict[str, Trials]:
    """Reads all records of one split under ``results``, by name.

    Raises:
        ResultError: ``results`` is no folder, a record is not valid or not in its own
            folder, or the records of a domain were evaluated on different data.
    """
    if not results.is_dir():
        raise ResultError(f"{results}: no such results folder; `decathlon run` makes one")
    found: dict[str, dict[int, dict[str, RunRecord]]] = {}
    for path in find_records(results):
        if path.parts[-3] == split:
            record = _placed(results, path)
            found.setdefault(record.name, {}).setdefault(record.seed, {})[record.domain] = record
    trials = {name: Trials(name, dict(sorted(seeds.items()))) for name, seeds in found.items()}
    _check_totals(list(trials.values()))
    return trials


def splits_present(results: Path) -> Counter[str]:
    """Counts the records under ``results`` by split, by their folders alone."""
    return Counter(path.parts[-3] for path in find_records(results))
