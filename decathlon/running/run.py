"""A run: one method on some domains of one data folder, and the trials it consists of."""

from dataclasses import dataclass
from pathlib import Path

from decathlon.common.errors import DataError, UsageError, nearest
from decathlon.common.world import world
from decathlon.data.reading.store import Store
from decathlon.method.base import Method, Task
from decathlon.models.weights import Source
from decathlon.results.controls import Routing, control_name
from decathlon.results.records import LONGEST, Code, is_name, trial_folder
from decathlon.running.config import RunConfig
from decathlon.running.crops import check_crop
from decathlon.running.splits import trained_on
from decathlon.suites.base import DEFAULT
from decathlon.suites.subset import Subset
from decathlon.training.feed import task_of


@dataclass(frozen=True)
class Trial:
    """One training, or one evaluation of the source network as it is.

    Attributes:
        name: The method's or the variant's name.
        domains: The domain; several where the method's scope is joint.
        split: Split to evaluate on.
        seed: Seed of all randomness.
        kept: The source network is evaluated with its own head, nothing is trained.
        subset: The part of the training images that is trained on; None for all, and where
            nothing is trained.
    """

    name: str
    domains: tuple[str, ...]
    split: str
    seed: int
    kept: bool = False
    subset: Subset | None = None

    def folder(self, domain: str) -> Path:
        """Returns the folder of a domain's results, relative to those of all trials."""
        return trial_folder(self.name, domain, self.split, self.seed, self.subset_name)

    @property
    def subset_name(self) -> str:
        """The subset's name in records; empty for all images."""
        return "" if self.subset is None else str(self.subset)

    @property
    def setting(self) -> str:
        """Split and subset, as the folder names them: ``test+10shot``."""
        return self.folder(self.domains[0]).parent.name

    def __str__(self) -> str:
        domains = self.domains[0] if len(self.domains) == 1 else f"{len(self.domains)} domains"
        return f"{self.name}, {domains}, {self.setting}, seed {self.seed}"


@dataclass(frozen=True)
class Run:
    """A configuration of one method, with the method, the source and the data that it names.

    Attributes:
        config: The configuration of this run alone; its domains and seeds are those of the trials.
        method: The method with its recipe.
        source: The pretrained network.
        store: The data.
        code: Code of the method, where it is registered.
        trainer: The run that trains the networks which this one evaluates; None if it trains.
    """

    config: RunConfig
    method: Method
    source: Source
    store: Store
    code: Code | None = None
    trainer: "Run | None" = None

    @property
    def method_name(self) -> str:
        """The method's registered name."""
        return self.config.methods[0]

    @property
    def name(self) -> str:
        """Name in the results: the method's and its control's, unless another one is given."""
        control = self.config.routing
        own = [control_name(control, self.config.routes)] if control else []
        return self.config.name or "-".join([self.config.of or self.method_name, *own])

    @property
    def routing(self) -> Routing | None:
        """The control of routing that is evaluated, and whose networks; None if there is none."""
        if self.config.routing is None or self.trainer is None:
            return None
        return Routing(
            control=self.config.routing, routes=self.config.routes, weights=self.trainer.name
        )

    def trained_on(self, domain: str) -> tuple[str, ...]:
        """Returns the splits of a domain that are trained on."""
        return trained_on(self.store, domain, self.config.split)

    def task(self, trial: Trial, domain: str) -> Task:
        """Describes one of a trial's domains, with the images that are trained on."""
        splits = (trial.split,) if trial.kept else self.trained_on(domain)
        return task_of(self.store, domain, splits, trial.subset, self.config.crop)

    def method_of(self, trial: Trial) -> Method:
        """Returns how a trial trains and predicts; the source network as it is has no method."""
        return Method() if trial.kept else self.method

    def trials(self) -> list[Trial]:
        """Lists all trials, whether done or not.

        Raises:
            UsageError: The name is reserved, a domain is not prepared, or a setting names an
                unknown one.
        """
        self._check()
        domains, split = self.config.domains, self.config.split
        own = tuple(domain for domain in domains if not self._keeps(domain))
        joint = self.method.scope == "joint" and own
        groups = [own] if joint else [(domain,) for domain in own]
        kept = [(domain,) for domain in domains if self._keeps(domain)]
        found = []
        for seed in self.config.seeds:
            for subset in self.config.subsets or (None,):
                found += [Trial(self.name, group, split, seed, subset=subset) for group in groups]
            found += [Trial(self.name, group, split, seed, kept=True) for group in kept]
        return found

    def _keeps(self, domain: str) -> bool:
        return domain == self.store.suite.source and self.method.source_domain == "keep"

    def _check(self) -> None:
        name, domains = self.name, self.store.domains
        if not is_name(name):
            raise UsageError(
                f"'{name}' cannot be the name of results; choose another --name: a folder's"
                f" name of printable characters, at most {LONGEST} bytes of UTF-8"
            )
        if self.trainer is not None and name == self.trainer.name:
            raise UsageError(
                f"--name {name}: is that of the networks which are evaluated; choose another one"
            )
        for domain in self.config.domains:
            if domain not in domains:
                raise UsageError(
                    f"unknown domain '{domain}'{nearest(domain, domains)}"
                    f" (in {self.store.data}: {', '.join(domains)})"
                )
        check_crop(self.store, self.config.domains, self.config.crop)
        if self.config.cache_frozen:
            self._check_cache()
        known = [DEFAULT, *domains]
        for setting, value in self.method.recipe.as_json().items():
            for domain in value if isinstance(value, dict) else ():
                if domain not in known and domain not in self.store.suite.domains:
                    raise UsageError(
                        f"--set {setting}.{domain}: unknown domain{nearest(domain, known)}"
                    )

    def _check_cache(self) -> None:
        if self.method.recipe.crops is None:
            raise UsageError(
                "--cache-frozen: images need a fixed number of crops, as what is computed of them"
                " is kept; add --set crops=N, such as crops=4"
            )
        if self.config.compute.compiled:
            raise UsageError(
                "--cache-frozen passes over layers that --compile would compile: leave one out"
            )
        if world().size > 1:
            raise UsageError(
                f"--cache-frozen works in one process, and there are {world().size}: leave it out,"
                " or call without torchrun"
            )

    def check_input(self, trial: Trial) -> None:
        """Checks that the network takes images of the size that a trial's domains are cut to.

        Raises:
            UsageError: It takes those of one size only, which is another.
        """
        made_for = self.source.architecture.family.input
        if made_for is None or not made_for.fixed:
            return
        for domain in trial.domains:
            task = self.task(trial, domain)
            for training in (False,) if trial.kept else (True, False):
                side = self.method_of(trial).view(task, training).crop
                if side != made_for.side:
                    cut = f"cut to {side} x {side}" if side else "whole"
                    raise UsageError(
                        f"{self.source.path}: a {self.source.architecture.name} takes images of"
                        f" {made_for.side} x {made_for.side} pixels only, and those of {domain} are"
                        f" {cut} in the suite '{self.store.suite.name}'; choose a source that takes"
                        " images of any size, or a suite that cuts them to this one"
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
        """Checks that the source network can be evaluated as it is, if a trial does so.

        Raises:
            DataError: It was trained on other classes.
        """
        for domain in filter(self._keeps, self.config.domains):
            classes = self.store.domains[domain].num_classes
            if classes != self.source.num_classes:
                raise DataError(
                    f"{self.source.path}: the source network has {self.source.num_classes}"
                    f" classes, {domain} in {self.store.data} has {classes}: other data;"
                    f" leave {domain} out with --domain, or pretrain on this data"
                )
