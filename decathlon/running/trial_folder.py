"""The folder of a trial: what is in it, and what it says about the trial.

    RESULTS/<name>/<domain>/<split>[+<subset>]/seed<k>/

A trial on several domains has a folder for each. Its log, checkpoints, claim and failure are in
that of its first domain. A finished record, a checkpoint or a failure of another recipe, other
data, another source or other code never counts as the trial's own; of a finished record, the run
stops with a message that says so.
"""

import json
import math
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from decathlon.common.errors import DataError, UsageError, first_difference
from decathlon.common.files import digest_of, write_json
from decathlon.common.locks import claim, is_claimed
from decathlon.method.code import identity, shown
from decathlon.results.controls import Routing
from decathlon.results.records import LOG, RECORD, RunRecord, read_record
from decathlon.results.selection import Selection
from decathlon.running.faults import Failure
from decathlon.running.run import Run, Trial
from decathlon.training.checkpoints import peek

CHECKPOINTS = "checkpoints"
FAILED = "failed.json"
PLAIN = {"subset": "", "crop": "image", "routing": None, "selection": None}
"""Facts that are left out of the identity of checkpoints: those of earlier versions lack them."""


@dataclass(frozen=True)
class TrialFolder:
    """The folder of a trial, or the folders of one on several domains.

    Attributes:
        run: The run that the trial belongs to.
        trial: The trial.
    """

    run: Run
    trial: Trial

    def of(self, domain: str) -> Path:
        """Returns the folder of one domain's record, predictions, routing and weights."""
        return self.run.config.results / self.trial.folder(domain)

    def record(self, domain: str) -> Path:
        """Returns the path of a domain's record, which is written last."""
        return self.of(domain) / RECORD

    @property
    def first(self) -> Path:
        """The folder of the first domain."""
        return self.of(self.trial.domains[0])

    @property
    def log(self) -> Path:
        """A line of JSON for each epoch."""
        return self.first / LOG

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.first / CHECKPOINTS

    @property
    def failed(self) -> Path:
        """Says why the trial failed, until it is tried again."""
        return self.first / FAILED

    @property
    def trainer(self) -> "TrialFolder | None":
        """The folder of the trial that trains this one's network; None if this one does."""
        trainer = self.run.trainer
        if trainer is None or self.trial.kept:
            return None
        return TrialFolder(trainer, replace(self.trial, name=trainer.name))

    @property
    def routing(self) -> Routing | None:
        """The control of routing that the trial is; None if it is none."""
        return None if self.trial.kept else self.run.routing

    @property
    def selection(self) -> Selection | None:
        """How the trial's settings were chosen; None if they were given."""
        return None if self.trial.kept else self.run.config.selection

    def expected(self, domain: str) -> dict[str, Any]:
        """Returns the fields by which a finished record is known to be this trial's.

        The version of the code is not one of them: a new version with the same code gives the
        same result.
        """
        run, trial = self.run, self.trial
        splits = (trial.split,) if trial.kept else (*run.trained_on(domain), trial.split)
        digests = run.store.domains[domain].splits
        recipe = {} if trial.kept else run.method.recipe.as_json()
        if run.method.scope == "joint" and not trial.kept:
            recipe["domains"] = list(trial.domains)
        facts = {
            "method": run.method_name,
            "recipe": recipe,
            "data": {split: digests[split].digest for split in splits if split in digests},
            "source": run.source.sha256 if trial.kept or run.method.needs_source else None,
            "code": None if trial.kept else identity(run.code),
            "subset": trial.subset_name,
            "crop": run.store.crop_of(domain, run.config.crop),
            "routing": None if self.routing is None else self.routing.model_dump(),
            "selection": None if self.selection is None else self.selection.model_dump(),
        }
        if facts["source"] is None and not trial.kept:  # else the source's file says it
            facts["network"] = run.source.architecture.as_json()
        return facts

    def identity(self) -> dict[str, Any]:
        """Returns what checkpoints and failures are known by: :meth:`expected` by domain."""
        return {
            domain: {k: v for k, v in self.expected(domain).items() if (k, v) not in PLAIN.items()}
            for domain in self.trial.domains
        }

    def is_done(self, since: float = math.inf) -> bool:
        """Returns whether the records of all domains are there.

        Args:
            since: With force, records written before this time do not count; in seconds since
                1970.

        Raises:
            UsageError: A record is there, but of another recipe, data, source or code.
        """
        first = self.record(self.trial.domains[0])
        if self.run.config.force and (not first.exists() or first.stat().st_mtime < since):
            return False
        for domain in self.trial.domains:
            if not self.record(domain).exists():
                return False
            self.check_own(domain)
        return True

    def is_in_training(self) -> bool:
        """Returns whether another process is training the network that this trial evaluates."""
        if (trainer := self.trainer) is None or not is_claimed(trainer.first):
            return False
        try:
            return not trainer.is_done()
        except UsageError:  # check_trained reports it
            return False

    def check_trained(self) -> None:
        """Checks that the network is there that another method's trial trains.

        Raises:
            DataError: It is not, or was trained differently.
        """
        if (trainer := self.trainer) is None:
            return
        name, method, trained = trainer.run.name, self.run.method_name, trainer.run.method_name
        command = f"decathlon run --method {trained}" + f" --name {name}" * (name != trained)
        options = "the same options"
        if self.routing is not None:
            method, options = self.run.name, "the same options but --routing"
        try:
            if trainer.is_done():
                return
        except UsageError as error:
            raise DataError(f"{method} evaluates the network of {name}, but {error}") from None
        raise DataError(
            f"{trainer.first}: there is no finished trial of {name}, whose network {method}"
            f" evaluates; run '{command}' with {options} first"
        )

    def check_own(
        self, domain: str, advice: str = "rerun it with --force, or keep both with --name"
    ) -> None:
        """Checks that a finished record is this trial's.

        Args:
            domain: One of the trial's, whose record is there.
            advice: Ends the message.

        Raises:
            UsageError: It is of another recipe, data, source or code.
        """
        path = self.record(domain)
        if differences := self.differences(domain, read_record(path)):
            raise UsageError(
                f"{path}: is finished, but with {next(iter(differences.values()))}; {advice}"
            )

    def differences(self, domain: str, record: RunRecord) -> dict[str, str]:
        """Says in words, by field, how a record is not this trial's; see :meth:`expected`."""
        wanted = self.expected(domain)
        code = wanted.pop("code")
        if record.network is None:  # records of format 1 do not say it
            wanted.pop("network", None)
        found = dict.fromkeys(wanted) | record.model_dump(include=set(wanted))
        differences = {
            key: f"another {key}: {first_difference(found[key], value)}"
            for key, value in wanted.items()
            if found[key] != value
        }
        if not _has_code(record, code):
            differences["code"] = (
                f"other code: was {shown(record.code)}, now {shown(self.run.code)}"
            )
        return differences

    def epochs_done(self) -> int | None:
        """Returns the number of epochs in the last checkpoint; None if none is this trial's."""
        header, ours = peek(self.checkpoints), self.identity()
        if header is None or any(header["identity"].get(domain) != ours[domain] for domain in ours):
            return None
        return int(header["facts"]["epoch"])

    def failure(self, since: float = 0.0) -> Failure | None:
        """Returns why the trial failed when it was last tried, if nothing has changed since.

        Args:
            since: Failures before this time do not count; in seconds since 1970.
        """
        try:
            value = json.loads(self.failed.read_bytes())
            if self.failed.stat().st_mtime < since or value["of"] != digest_of(self.identity()):
                return None
            return Failure(self.trial, int(value["code"]), str(value["reason"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_failure(self, failure: Failure) -> None:
        """Writes down why the trial failed, if anything can be written."""
        value = {"reason": failure.reason, "code": failure.code, "of": digest_of(self.identity())}
        with suppress(OSError):
            write_json(self.failed, value)

    def clear(self) -> None:
        """Removes the failure and the records of an earlier try; checkpoints stay."""
        self.failed.unlink(missing_ok=True)
        for domain in self.trial.domains:
            self.record(domain).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Removes the checkpoints of a finished trial, left by a kill after its last record."""
        if self.checkpoints.is_dir():
            with claim(self.first) as ours:
                if ours and self.is_done():
                    shutil.rmtree(self.checkpoints)


def _has_code(record: RunRecord, code: dict[str, str] | None) -> bool:
    """Returns whether this code made a record; without the record's code, it is assumed to."""
    if record.code is not None or code is None:
        return identity(record.code) == code
    warnings.warn(
        "some finished records do not tell which code made them (older versions of decathlon did"
        " not record it); they are taken as made by the present code, --force reruns them",
        stacklevel=1,  # one place, so that it is shown once
    )
    return True


def check_agreement(what: str, here: dict[str, Any], there: dict[str, Any]) -> None:
    """Checks that this process computes the same as the one in which the command was given.

    Args:
        what: What is computed, for the message.
        here: Its identity in this process.
        there: Its identity in the other one.

    Raises:
        UsageError: They differ.
    """
    if here != there:
        difference = first_difference(here, there, wording="is {} here, {} there")
        raise UsageError(
            f"{what}: is not the same here as where the command was given ({difference}); all"
            " machines need the same decathlon and method, data and source"
        )
