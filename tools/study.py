"""Does routing each image beat fine-tuning? The trials and the tables of docs/study.md.

    python tools/study.py --source lite0.safetensors --data fine --results study
        [--domain flowers ...] [--split test] [--shots 5 10] [--all-images] [--repeats 3]
        [--steps 100] [--batch 16] [--fixed 5] [--crops 8] [--threads 1]

Choosing: fine-tuning is trained on train with both modes of batch normalisation and six learning
rates. For each mode the rate with the highest accuracy on val is taken, averaged over domains. With
``--split val``, for data whose test labels are withheld, a domain takes what is best on the val of
the others. So nothing is chosen on images whose accuracy is reported.

Training: all methods take the better mode and its rate, on some images of each class or on all.
Each repeat has other training images and another seed; methods are compared within a repeat.
SpotTune's networks are evaluated with every control of routing too. Trials that are done are not
run again: the program goes on where it was stopped, and several can share a results folder.

Tables: the accuracy of each method by domain, and its difference to fine-tuning and to SpotTune, in
percent of the images. The interval of 95 % is Student's t of the mean over domains, with the
variance of the repeats within each domain: it has the choice of training images and the seed in it,
but not the choice of domains.
"""

import argparse
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path

from scipy.stats import t

from decathlon.common.errors import TrialError
from decathlon.data.reading.store import open_store
from decathlon.method.probe import ProbeRecipe
from decathlon.method.recipe import TuningRecipe
from decathlon.method.registry import find
from decathlon.results.controls import Control, control_name
from decathlon.results.records import RECORD, read_record, trial_folder
from decathlon.running.config import RunConfig, subsets_of
from decathlon.running.display import display
from decathlon.running.execution import execute
from decathlon.running.reevaluation import ALL_CONTROLS
from decathlon.running.resolve import resolve
from decathlon.running.survey import survey
from decathlon.training.device import Compute

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
MODES = ("batch", "source")
HEAD = 10
"""The head's learning rate, as a factor on that of the other layers."""
BASELINE, ROUTED = "fine-tuning", "spottune"
METHODS = (
    "feature-extractor",
    "linear-probe",
    BASELINE,
    "lp-ft",
    "last-k",
    "l2-sp",
    "random-policy",
    "spottune-global-k",
    ROUTED,
)
Accuracies = dict[str, dict[str, list[float]]]
"""By row of a table and domain, the accuracies of the repeats."""


@dataclass(frozen=True)
class Study:
    """What the trials of one table have in common.

    Attributes:
        source: The source network.
        data: The data folder.
        results: The results folder.
        domains: Domains.
        split: What is reported.
        shots: Training images of each class; None for all.
        settings: Settings of every training.
        compute: Device, precision and threads.
    """

    source: Path
    data: Path
    results: Path
    domains: Sequence[str]
    split: str
    shots: int | None
    settings: dict[str, int]
    compute: Compute

    def accuracy(
        self, name: str, method: str, domain: str, split: str, repeat: int,
        settings: dict[str, object], control: tuple[Control, int] = ("learned", 1),
    ) -> float:  # fmt: skip
        """Runs a trial that is missing, and returns its accuracy in percent."""
        subsets = subsets_of(self.shots, None, [repeat]) if self.shots else ()
        recipe = find(method).recipes["paper"]
        known = {field.name for field in fields(recipe)}
        if isinstance(recipe, ProbeRecipe):
            known = set()
        elif not isinstance(recipe, TuningRecipe):
            known -= {"bn"}
        routing, routes = control if control != ("learned", 1) else (None, 1)
        config = RunConfig(
            methods=(method,),
            data=self.data,
            results=self.results,
            sources=(str(self.source),),
            domains=(domain,),
            split=split,
            seeds=(repeat,),
            subsets=subsets,
            name=name,
            settings=tuple(
                f"{key}={value}"
                for key, value in {**self.settings, **settings}.items()
                if key in known
            ),
            routing=routing,
            routes=routes,
            compute=self.compute,
            cache_frozen="crops" in self.settings and routing is None,
        )
        subset = str(subsets[0]) if subsets else ""
        record = self.results / trial_folder(name, domain, split, repeat, subset) / RECORD
        with display() as listener:
            if execute(survey(resolve(config)), listener):
                raise TrialError(f"{name} of {domain} failed; see the messages above")
        found = read_record(record).accuracy
        assert found is not None, f"{self.data} has no labels of {domain} {split}"
        return found

    def on_val(self, bn: str, lr: float, domain: str) -> float:
        """Returns fine-tuning's accuracy on val; 0 if the training diverges."""
        try:
            return self.accuracy(f"choose-{bn}-{lr:g}", BASELINE, domain, "val", 0, tuned(bn, lr))
        except TrialError as error:
            print(error)
            return 0.0

    def choose(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Trains fine-tuning at all rates on train.

        Returns:
            By domain and mode of batch normalisation, the best accuracy on val and its rate.
        """
        found = {
            (bn, lr, domain): self.on_val(bn, lr, domain)
            for domain, bn, lr in product(self.domains, MODES, RATES)
        }
        best: dict[str, dict[str, tuple[float, float]]] = {}
        for domain in self.domains:
            others = [d for d in self.domains if self.split != "val" or d != domain]
            best[domain] = {
                bn: max((statistics.fmean(found[bn, lr, d] for d in others), lr) for lr in RATES)
                for bn in MODES
            }
        return best

    def run(self, repeats: int) -> Accuracies:
        """Runs all trials."""
        rows: Accuracies = {}
        for domain, best in self.choose().items():
            mode = max(MODES, key=lambda bn: best[bn][0])
            print(domain, *(f"{bn}: {best[bn][0]:.1f} % at {best[bn][1]:g}" for bn in MODES))
            for repeat in range(repeats):
                for method in METHODS:
                    for bn in MODES if method == BASELINE else (mode,):
                        row = method if bn == mode else f"{method}-other-bn"
                        settings = tuned(bn, best[bn][1])
                        rows.setdefault(row, {}).setdefault(domain, []).append(
                            self.accuracy(row, method, domain, self.split, repeat, settings)
                        )
                for control in ALL_CONTROLS[1:]:
                    row = f"{ROUTED}-{control_name(*control)}"
                    rows.setdefault(row, {}).setdefault(domain, []).append(
                        self.accuracy(row, ROUTED, domain, self.split, repeat, settings, control)
                    )
        return rows


def tuned(bn: str, lr: float) -> dict[str, object]:
    """Returns the settings that are chosen on val."""
    return {"bn": bn, "lr": f"{lr:g}", "head_lr": f"{HEAD * lr:g}"}


def interval(differences: Iterable[Sequence[float]]) -> str:
    """Returns the mean over domains of paired differences, with its interval of 95 %.

    Args:
        differences: For each domain, the differences of its repeats.
    """
    means, variances, freedom = [], [], 0
    for found in differences:
        means.append(statistics.fmean(found))
        if len(found) > 1:
            variances.append(statistics.variance(found) / len(found))
            freedom += len(found) - 1
    mean = statistics.fmean(means)
    if not freedom:
        return f"{mean:+.1f}"
    half = float(t.ppf(0.975, freedom)) * sum(variances) ** 0.5 / len(means)
    return f"{round(mean, 1) + 0.0:+.1f} [{mean - half:.1f}, {mean + half:.1f}]"


def minus(row: dict[str, list[float]], other: dict[str, list[float]]) -> str:
    """Returns by how much a row is better than another."""
    if row is other:
        return "-"
    return interval([[a - b for a, b in zip(row[d], other[d], strict=True)] for d in row])


def tell(rows: Accuracies) -> None:
    """Prints a table in Markdown."""
    domains = rows[BASELINE]
    print("| method |", " | ".join(domains), "| mean | minus fine-tuning | minus SpotTune |")
    print("| --- |" + " --- |" * (len(domains) + 3))
    for name, row in rows.items():
        means = [statistics.fmean(row[domain]) for domain in domains]
        numbers = " | ".join(f"{mean:.1f}" for mean in (*means, statistics.fmean(means)))
        print(f"| {name} | {numbers} | {minus(row, rows[BASELINE])} | {minus(row, rows[ROUTED])} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("--source", "--data", "--results"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--domain", nargs="+", help="default: all that are prepared")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--shots", nargs="*", type=int, default=[5, 10])
    parser.add_argument("--all-images", action="store_true", help="all images of a class too")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--fixed", type=int, help="macro blocks that stay the source's")
    parser.add_argument("--crops", type=int, help="random crops of each image, which are cached")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    settings = {"steps": options.steps, "batch_size": options.batch}
    settings |= {
        key: value for key in ("fixed", "crops") if (value := getattr(options, key)) is not None
    }
    for shots in [*options.shots, *[None] * options.all_images]:
        study = Study(
            options.source,
            options.data,
            options.results,
            options.domain or [*open_store(options.data).domains],
            options.split,
            shots,
            settings,
            Compute(threads=options.threads),
        )
        rows = study.run(options.repeats)
        print(f"\n{shots or 'all'} images a class\n")
        tell(rows)


if __name__ == "__main__":
    main()
