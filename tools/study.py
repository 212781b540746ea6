"""Does routing each image beat fine-tuning? The trials and the table of docs/study.md.

    python tools/study.py --source lite0.safetensors --data fine --results study
        [--domain flowers ...] [--shots 5 10] [--draws 3] [--seeds 1] [--steps 150]
        [--batch 32] [--threads N] [--dry-run]

For each domain and number of images, fine-tuning is trained with both modes of batch normalisation
and five learning rates, on train, and the best of each mode on val is taken: nothing is chosen on
test. All methods then train on train and val with the setting of the better mode, and are tested;
SpotTune's networks are evaluated with every control of routing too. Trials that are done are not
run again, so the program continues where it was stopped.

The table has each method's accuracy and its difference to fine-tuning in the better mode.
Differences are paired: same domain, images and seed. Those of one draw are averaged over domains
and seeds. The interval is Student's t over draws: it has the choice of training images and the seed
in it, and of the test images what differs between draws.
"""

import argparse
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import t

from decathlon.common.errors import TrialError
from decathlon.data.reading.store import open_store
from decathlon.results.controls import CONTROLS, Control, control_name
from decathlon.results.records import RECORD, read_record, trial_folder
from decathlon.running.config import RunConfig, subsets_of
from decathlon.running.display import display
from decathlon.running.execution import execute
from decathlon.running.resolve import resolve
from decathlon.running.survey import survey
from decathlon.suites.subset import Subset
from decathlon.training.device import Compute

RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
MODES = ("batch", "source")
HEAD = 10
"""The head's learning rate, as a factor on that of the other layers."""
METHODS = (
    "feature-extractor",
    "fine-tuning",
    "lp-ft",
    "last-k",
    "l2-sp",
    "random-policy",
    "spottune-global-k",
    "spottune",
)
UNTUNED = ("feature-extractor",)
"""Methods without the setting bn."""
CONTROLLED = "spottune"
DRAWN = 5


@dataclass(frozen=True)
class Study:
    """What all trials have in common.

    Attributes:
        source: The source network.
        data: The data folder.
        results: The results folder.
        steps: Of each training.
        batch: Images in a step.
        seeds: Seeds.
        compute: Device, precision and threads.
    """

    source: Path
    data: Path
    results: Path
    steps: int
    batch: int
    seeds: tuple[int, ...]
    compute: Compute

    def run(
        self, name: str, method: str, domain: str, split: str, subsets: Sequence[Subset],
        settings: Iterable[str], routing: Control | None = None, routes: int = 1,
    ) -> None:  # fmt: skip
        """Runs what is missing of some trials."""
        config = RunConfig(
            methods=(method,),
            data=self.data,
            results=self.results,
            sources=(str(self.source),),
            domains=(domain,),
            split=split,
            seeds=self.seeds,
            subsets=tuple(subsets),
            name=name,
            settings=(f"steps={self.steps}", f"batch_size={self.batch}", *settings),
            routing=routing,
            routes=routes,
            compute=self.compute,
        )
        with display() as listener:
            if execute(survey(resolve(config)), listener):
                raise TrialError(f"{name} of {domain} failed; see the messages above")

    def accuracy(
        self, name: str, domain: str, split: str, seed: int, subset: Subset | None
    ) -> float:
        """Returns a trial's accuracy in percent."""
        folder = trial_folder(name, domain, split, seed, str(subset or ""))
        found = read_record(self.results / folder / RECORD).accuracy
        assert found is not None, f"{self.data} has no labels of {domain} {split}"
        return found


def rates(lr: float) -> tuple[str, str]:
    """Returns the settings of a learning rate."""
    return f"lr={lr:g}", f"head_lr={HEAD * lr:g}"


def chosen(study: Study, domain: str, subset: Subset | None) -> dict[str, tuple[float, float]]:
    """Returns for each mode of batch normalisation (accuracy on val, learning rate) of the best."""
    best = {}
    for bn in MODES:
        found = []
        for lr in RATES:
            name = f"select-{bn}-{lr:g}"
            subsets = () if subset is None else (subset,)
            study.run(name, "fine-tuning", domain, "val", subsets, (f"bn={bn}", *rates(lr)))
            found.append((study.accuracy(name, domain, "val", study.seeds[0], subset), -lr))
        accuracy, lr = max(found)
        best[bn] = (accuracy, -lr)
    return best


def cell(study: Study, domain: str, subsets: Sequence[Subset]) -> dict[str, list[list[float]]]:
    """Runs all methods on a domain and a number of images.

    Returns:
        By row of the table, the accuracies of each draw and seed.
    """
    best = chosen(study, domain, subsets[0] if subsets else None)
    mode = max(MODES, key=lambda bn: best[bn][0])
    print(f"{domain}: {', '.join(f'{bn} {best[bn][0]:.1f} % at {best[bn][1]:g}' for bn in MODES)}")
    rows: dict[str, tuple[str, tuple[str, ...]]] = {}
    for method in METHODS:
        for bn in MODES if method == "fine-tuning" else (mode,):
            tuned = () if method in UNTUNED else (f"bn={bn}",)
            rows[method if bn == mode else f"{method}, other bn"] = (
                method,
                (*tuned, *rates(best[bn][1])),
            )
    for row, (method, settings) in rows.items():
        study.run(named(row), method, domain, "test", subsets, settings)
    settings = rows[CONTROLLED][1]
    for control, routes in [*((one, 1) for one in CONTROLS), ("sampled", DRAWN)]:
        if (control, routes) != ("learned", 1):
            row = f"{CONTROLLED}-{control_name(control, routes)}"
            study.run(row, CONTROLLED, domain, "test", subsets, settings, control, routes)
            rows[row] = (CONTROLLED, settings)
    return {
        row: [
            [study.accuracy(named(row), domain, "test", seed, subset) for seed in study.seeds]
            for subset in subsets or (None,)
        ]
        for row in rows
    }


def named(row: str) -> str:
    """Returns a row's name in the results."""
    return row.replace(", ", "-").replace(" ", "-")


def interval(differences: Sequence[float]) -> str:
    """Returns the mean of some differences with its interval of 95 %."""
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return f"{mean:+.1f}"
    half = statistics.stdev(differences) / len(differences) ** 0.5
    half *= float(t.ppf(0.975, len(differences) - 1))
    return f"{mean:+.1f} [{mean - half:.1f}, {mean + half:.1f}]"


def tell(cells: dict[str, dict[str, list[list[float]]]]) -> None:
    """Prints the table of some domains at one number of images."""
    first = next(iter(cells.values()))
    print("| method | " + " | ".join(cells) + " | mean | minus fine-tuning |")
    print("| --- |" + " --- |" * (len(cells) + 2))
    draws = range(len(first["fine-tuning"]))
    for row in first:
        means = {
            domain: statistics.fmean(a for draw in found[row] for a in draw)
            for domain, found in cells.items()
        }
        differences = [
            statistics.fmean(
                a - b
                for found in cells.values()
                for a, b in zip(found[row][draw], found["fine-tuning"][draw], strict=True)
            )
            for draw in draws
        ]
        numbers = [f"{mean:.1f}" for mean in (*means.values(), statistics.fmean(means.values()))]
        print(f"| {row} | {' | '.join(numbers)} | {interval(differences)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("--source", "--data", "--results"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--domain", nargs="+", help="default: all that are prepared")
    parser.add_argument("--shots", nargs="+", type=int, default=[5, 10])
    parser.add_argument("--all-images", action="store_true", help="all images of a class too")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    study = Study(
        options.source,
        options.data,
        options.results,
        options.steps,
        options.batch,
        tuple(range(options.seeds)),
        Compute(threads=options.threads),
    )
    domains = options.domain or [*open_store(options.data).domains]
    for shots in [*options.shots, *[None] * options.all_images]:
        subsets = subsets_of(shots, None, range(options.draws)) if shots else ()
        cells = {domain: cell(study, domain, subsets) for domain in domains}
        print(f"\n{shots or 'all'} images a class\n")
        tell(cells)


if __name__ == "__main__":
    main()
