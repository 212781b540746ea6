"""What there is to do: trials of a method, and which of them are done.

A finished record of another recipe, other data, another source or other code is never taken for
the one that is asked for: it is reported.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decathlon.common.errors import DataError, UsageError, first_difference, nearest
from decathlon.common.files import CHECKPOINT_SECONDS
from decathlon.data.reading.store import DomainInfo, Store
from decathlon.method.base import Method
from decathlon.method.code import identity, shown
from decathlon.models.weights import Source
from decathlon.results.records import RECORD, RESERVED, Code, RunRecord, read_record, trial_folder
from decathlon.suites.base import DEFAULT
from decathlon.suites.visual_decathlon import DOMAINS
from decathlon.suites.visual_decathlon import SOURCE as SOURCE_DOMAIN
from decathlon.training.device import Compute

TRAINED_ON = {"val": ("train",), "test": ("train", "val")}
"""Splits that are trained on, by the split that is reported; val where there is one."""
LONGEST = 200
"""Bytes of a name in the results, which is also that of a folder."""


def trained_on(domain: DomainInfo, split: str) -> tuple[str, ...]:
    """Returns the splits of a domain that are trained on.

    Args:
        domain: A prepared domain, which has a train split.
        split: The split that is reported.
    """
    return tuple(name for name in TRAINED_ON[split] if name == "train" or name in domain.splits)


def notes_on_splits(store: Store, domains: Iterable[str], split: str) -> list[str]:
    """Says which domains are trained on less than their protocol asks for."""
    short = []
    for name in domains:
        info = store.domains.get(name)
        if (
            info is not None
            and split in info.splits
            and trained_on(info, split) != TRAINED_ON[split]
        ):
            short.append(name)
    named = ", ".join(short)
    return [f"{named}: no val split, so trained on train alone"] if short else []


@dataclass(frozen=True)
class Trial:
    """One piece of work: one training, or the source network evaluated as it is.

    Attributes:
        name: The method's or the variant's name.
        domains: The domain; several where the method's scope is joint.
        split: Split to evaluate on.
        seed: Seed of all randomness.
        kept: The source network is evaluated with its own head, nothing is trained.
    """

    name: str
    domains: tuple[str, ...]
    split: str
    seed: int
    kept: bool = False

    def folder(self, results: Path, domain: str) -> Path:
        """Returns the folder of one domain's record."""
        return results / trial_folder(self.name, domain, self.split, self.seed)

    def __str__(self) -> str:
        domains = self.domains[0] if len(self.domains) == 1 else f"{len(self.domains)} domains"
        return f"{self.name}, {domains}, {self.split}, seed {self.seed}"


@dataclass(frozen=True)
class Run:
    """A method on some domains of one data folder.

    Attributes:
        method: The method with its recipe.
        method_name: Its registered name.
        name: Its name in RESULTS.
        source: The pretrained network.
        store: The data.
        results: RESULTS.
        domains: Domains to run.
        split: ``val`` (trains on train) or ``test`` (trains on train and val).
        seeds: Seeds.
        compute: Device and precision.
        force: Run again what is finished.
        checkpoint_seconds: Seconds between two checkpoints; 0 for one after every step.
        checkpoint_steps: Steps after which there is one at the latest; 0 for no such rule.
        code: Code of the method, where it is registered.
    """

    method: Method
    method_name: str
    name: str
    source: Source
    store: Store
    results: Path
    domains: tuple[str, ...]
    split: str
    seeds: tuple[int, ...] = (0,)
    compute: Compute = field(default_factory=Compute)
    force: bool = False
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    checkpoint_steps: int = 0
    code: Code | None = None

    def trained_on(self, domain: str) -> tuple[str, ...]:
        """Returns the splits of a domain that are trained on."""
        return trained_on(self.store.domains[domain], self.split)

    def trials(self) -> list[Trial]:
        """Lists all trials, whether done or not.

        Raises:
            UsageError: The name is reserved, a domain is not prepared, or a setting names an
                unknown one.
        """
        self._check()
        own = [d for d in self.domains if not self._keeps(d)]
        trials = []
        for seed in self.seeds:
            if self.method.scope == "joint":
                groups = [tuple(own)] if own else []
            else:
                groups = [(domain,) for domain in own]
            trials += [Trial(self.name, g, self.split, seed) for g in groups]
            kept = [(d,) for d in self.domains if self._keeps(d)]
            trials += [Trial(self.name, g, self.split, seed, kept=True) for g in kept]
        return trials

    def _keeps(self, domain: str) -> bool:
        return domain == SOURCE_DOMAIN and self.method.source_domain == "keep"

    def _check(self) -> None:
        fits = self.name.isprintable() and len(self.name.encode()) <= LONGEST
        if self.name in RESERVED or "/" in self.name or self.name.startswith(".") or not fits:
            raise UsageError(
                f"'{self.name}' cannot be the name of results; choose another --name: a folder's"
                f" name of printable characters, at most {LONGEST} bytes of UTF-8"
            )
        for domain in self.domains:
            if domain not in self.store.domains:
                known = list(self.store.domains)
                raise UsageError(
                    f"unknown domain '{domain}'{nearest(domain, known)}"
                    f" (in {self.store.data}: {', '.join(known)})"
                )
        known = [DEFAULT, *self.store.domains]
        for setting, value in self.method.recipe.as_json().items():
            for domain in value if isinstance(value, dict) else ():
                if domain not in known and domain not in DOMAINS:
                    raise UsageError(
                        f"--set {setting}.{domain}: unknown domain{nearest(domain, known)}"
                    )

    def check_splits(self, trial: Trial) -> None:
        """Checks that a trial's domains have the splits that it needs.

        Raises:
            DataError: One has none to train on or to evaluate on.
        """
        needed = (trial.split,) if trial.kept else ("train", trial.split)
        for domain in trial.domains:
            self.store.check_splits(domain, needed)

    def check_kept(self) -> None:
        """Checks that the source network can be evaluated as it is, where that is asked for.

        Raises:
            DataError: It was trained on other classes.
        """
        if not any(self._keeps(domain) for domain in self.domains):
            return
        classes = self.store.domains[SOURCE_DOMAIN].num_classes
        if classes != self.source.num_classes:
            raise DataError(
                f"{self.source.path}: the source network has {self.source.num_classes} classes,"
                f" {SOURCE_DOMAIN} in {self.store.data} has {classes}: other data;"
                f" leave {SOURCE_DOMAIN} out with --domain, or pretrain on this data"
            )

    def expected(self, trial: Trial, domain: str) -> dict[str, Any]:
        """Returns the fields by which a finished record is known to be of this run.

        Of the code, the version is left out: a new version with the same code gives the same
        result.
        """
        kept = trial.kept
        splits = (trial.split,) if kept else (*self.trained_on(domain), trial.split)
        digests = self.store.domains[domain].splits
        recipe = {} if kept else self.method.recipe.as_json()
        if self.method.scope == "joint" and not kept:
            recipe["domains"] = list(trial.domains)
        return {
            "method": self.method_name,
            "recipe": recipe,
            "data": {split: digests[split].digest for split in splits if split in digests},
            "source": self.source.sha256 if kept or self.method.needs_source else None,
            "code": None if kept else identity(self.code),
        }

    def identity(self, trial: Trial) -> dict[str, Any]:
        """Returns what a trial's checkpoints and failures are known by: :meth:`expected` of all."""
        return {domain: self.expected(trial, domain) for domain in trial.domains}


def check_agreement(what: str, here: dict[str, Any], there: dict[str, Any]) -> None:
    """Checks that this process computes what the one asks for in which the command was given.

    Args:
        what: What is computed, for the message.
        here: Its identity in this process.
        there: Its identity in the other one.

    Raises:
        UsageError: They differ.
    """
    if here != there:
        raise UsageError(
            f"{what}: is not the same here as where the command was given"
            f" ({first_difference(there, here)}); all machines need the same decathlon and method,"
            " data and source"
        )


def is_done(run: Run, trial: Trial) -> bool:
    """Whether a trial's records are all there and of this run.

    Raises:
        UsageError: A record is there, but of another recipe, data, source or code.
    """
    for domain in trial.domains:
        path = trial.folder(run.results, domain) / RECORD
        if not path.exists():
            return False
        record = read_record(path)
        wanted = run.expected(trial, domain)
        code = wanted.pop("code")
        differences = [
            f"another {key}: {first_difference(getattr(record, key), value)}"
            for key, value in wanted.items()
            if getattr(record, key) != value
        ]
        if not _is_of(record, code):
            differences += [f"other code: was {shown(record.code)}, now {shown(run.code)}"]
        if differences:
            raise UsageError(
                f"{path}: is finished, but with {differences[0]};"
                " rerun it with --force, or keep both with --name"
            )
    return True


def _is_of(record: RunRecord, code: dict[str, str] | None) -> bool:
    """Whether a record was made by this code; one that does not say by which counts as such."""
    if record.code is not None or code is None:
        return identity(record.code) == code
    warnings.warn(
        "some finished records do not tell which code made them (older versions of decathlon did"
        " not record it); they are taken as made by the present code, --force reruns them",
        stacklevel=1,  # one place, so that it is shown once
    )
    return True
