"""What two processes do together, started by torchrun; the tests look at what they write.

python -m torch.distributed.run --nproc-per-node=2 together.py DATA SOURCE OUT
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from decathlon_methods.fine_tuning import FineTuning
from decathlon_methods.spottune import SpotTune, SpotTuneRecipe
from decathlon_methods.spottune.global_k import GlobalRecipe, SpotTuneGlobalK
from torch import Tensor, nn

from decathlon.cli import app
from decathlon.common.world import world
from decathlon.data.reading.store import open_store
from decathlon.method.base import Batch, Method, Task
from decathlon.models.weights import read_source, write_weights
from decathlon.running.config import RunConfig
from decathlon.running.events import Event, Finished
from decathlon.running.faults import Failure
from decathlon.running.launchers.torchrun import execute_together
from decathlon.running.run import Run
from decathlon.running.survey import survey
from decathlon.suites.visual_decathlon import AUGMENTED
from decathlon.testing import OneBatch
from decathlon.training import evaluation
from decathlon.training.device import Compute
from decathlon.training.distributed.groups import init_processes, process_group
from decathlon.training.distributed.parallel import all_reduce_gradients
from decathlon.training.feed import Feed
from decathlon.training.loop import Objective, train

COMPUTE = Compute("cpu", "32")
RECIPE = replace(FineTuning.recipes["paper"], epochs=3, batch_size=16, lr=0.05, milestones=())
TASK = Task("dtd", 4, 15)
DOMAIN = "omniglot"


def fine_tuning(source: Path) -> tuple[Method, nn.Module]:
    """The same network in every process, whatever its own random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        method = FineTuning(RECIPE)
        return method, method.build(read_source(source), [Task(DOMAIN, 30, 60)])


def whole_batch() -> Batch:
    """15 images, which two processes cannot share equally."""
    one = OneBatch(TASK, 1).batch
    return cut(replace(one, progress=0.9), slice(0, 15))


def cut(batch: Batch, part: slice) -> Batch:
    images, labels, ids = batch.images[part], batch.labels[part], batch.ids[part]
    share = len(labels) / len(batch.labels)
    return replace(batch, images=images, labels=labels, ids=ids, share=share)


def global_k(source: Path, fractions: str) -> tuple[Method, nn.Module]:
    """In evaluation mode, so that batch normalisation does not see the division."""
    recipe = GlobalRecipe(lambda1=3.0, lambda2=2.0, fractions=fractions)  # type: ignore[arg-type]
    method = SpotTuneGlobalK(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return method, method.build(read_source(source), [TASK]).eval()


def policy_gradient(network: nn.Module) -> Tensor:
    found = network.get_parameter("policy.head.weight").grad
    assert found is not None
    return found


def evaluator(data: Path, source: Path) -> tuple[Method, nn.Module, Feed]:
    torch.manual_seed(5)
    method = SpotTune(SpotTuneRecipe(test_routing="sample"))
    network = method.build(read_source(source), [Task("imagenet12", 21, 10)])
    view, cpu = AUGMENTED.test, torch.device("cpu")
    feed = Feed(open_store(data), "imagenet12", ("test",), view, 8, 0, cpu, world())
    return method, network, feed


class Counting(SpotTune):
    """Writes down which images it classifies."""

    seen: list[int] = []

    def predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        self.seen.extend(batch.ids.tolist())
        return super().predict(network, batch)


class Failing(FineTuning):
    """Fails in one process, in the midst of the training of one domain."""

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        if world().rank == 1 and batch.domain == "dtd" and batch.progress > 0.4:
            raise ValueError("the second process has no luck")
        return super().loss(network, batch)


class OnSource(FineTuning):
    """Is trained on imagenet12 too, whose 105 images make batches of one if asked for two."""

    source_domain = "train"


class Listener:
    """Remembers what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, event: Event) -> None:
        match event:
            case Finished(trial, records):
                self.said.append(f"{trial}: {[r.environment['world_size'] for r in records]}")
            case Failure(trial, _, reason):
                self.said.append(f"{trial}: {reason}")


def arguments(data: Path, source: Path, results: Path, method: str) -> list[str]:
    """A run on the command line, with a checkpoint after every step."""
    return [
        *("run", "--method", method, "--source", str(source), "--data", str(data)),
        *("--results", str(results), "--domain", "dtd", "--device", "cpu", "--precision", "32"),
        *("--set", "epochs=10", "--set", "batch_size=16", "--checkpoint", "0"),
    ]


class Here:
    """One process of the two."""

    def __init__(self, data: Path, source: Path, out: Path) -> None:
        self.data, self.source, self.out = data, source, out

    def write(self, name: str, value: Any) -> None:
        (self.out / f"{name}.{world().rank}.json").write_text(json.dumps(value))

    def trains(self) -> None:
        fabric = COMPUTE.fabric()
        torch.manual_seed(world().rank)  # all start from the first process's network anyway
        method, network = fine_tuning(self.source)
        if world().rank == 1:
            nn.init.zeros_(network.get_parameter("head.weight"))
        view = AUGMENTED.train
        splits, cpu = ("train", "val"), torch.device("cpu")
        feed = Feed(open_store(self.data), DOMAIN, splits, view, 16, 0, cpu, world())
        losses: list[float] = []
        train(method, network, [feed], fabric, 0, lambda facts: losses.append(facts["loss"]))
        write_weights(self.out / f"trained.{world().rank}.safetensors", {}, network.state_dict())
        self.write("losses", losses)

    def differentiates(self) -> None:
        for fractions in ("straight-through", "soft"):
            method, network = global_k(self.source, fractions)
            batch = whole_batch()
            batch = cut(batch, world().part(len(batch.labels)))
            loss = Objective(method, network)(batch) * batch.share
            loss.backward()
            total = all_reduce_gradients(
                [p for p in network.parameters() if p.requires_grad], loss.detach()
            )
            kept = {"loss": total, "gradient": policy_gradient(network)}
            name = f"{fractions}.{world().rank}.safetensors"
            write_weights(self.out / name, {}, kept)

    def leaves_out(self) -> None:
        """The first parameter is used by both, the second by one, the third by none."""
        parameters = [nn.Parameter(torch.ones(2, 3)) for _ in range(3)]
        used = parameters[: 2 - world().rank]
        loss = torch.stack([(world().rank + 1) * p.sum() for p in used]).sum()
        loss.backward()
        total = all_reduce_gradients(parameters, loss.detach())
        gradients = [None if p.grad is None else p.grad.tolist() for p in parameters]
        self.write("gradients", [float(total), gradients])

    def evaluates(self) -> None:
        _, network, feed = evaluator(self.data, self.source)
        found = {}
        for size in (4, 256):
            Counting.seen = []
            evaluation.BATCH_SIZE = size
            counting = Counting(SpotTuneRecipe(test_routing="sample"))
            result = evaluation.evaluate(counting, network, feed, COMPUTE.fabric())
            assert result.routing is not None
            found[size] = [Counting.seen, result.predicted.tolist(), result.routing.tolist()]
        evaluation.BATCH_SIZE = 256
        self.write("evaluated", found)

    def asked(self, method: Method, *domains: str) -> Run:
        source, store = read_source(self.source), open_store(self.data)
        results, name = self.out / "results", type(method).__name__.lower()
        config = RunConfig((name,), self.data, results, domains=domains, compute=COMPUTE)
        return Run(config, method, source, store)

    def fails(self) -> None:
        run = self.asked(Failing(replace(RECIPE, epochs=2)), "dtd", "svhn", DOMAIN)
        # Where the last one's log should be, the first process finds a folder.
        if world().rank == 0:
            (self.out / "results" / "failing" / DOMAIN / "test" / "seed0" / "log.jsonl").mkdir(
                parents=True
            )
        listener = Listener()
        failed = execute_together(survey([run]), listener)
        self.write("failed", [[str(failure.trial) for failure in failed], listener.said])

    def is_refused(self) -> None:
        run = self.asked(OnSource(replace(RECIPE, batch_size=2)), "imagenet12", "dtd")
        listener = Listener()
        failed = execute_together(survey([run]), listener)
        self.write("refused", [[failure.code for failure in failed], listener.said])

    def runs(self) -> None:
        for folder, method in (
            ("frozen", "feature-extractor"),
            ("broken", "spottune-global-k"),  # it goes on; the test has killed it
            ("whole", "spottune-global-k"),
        ):
            asked = arguments(self.data, self.source, self.out / folder, method)
            app(asked, standalone_mode=False)
        asked = ["pretrain", "--out", str(self.out / "source.safetensors"), "--width", "0.25"]
        asked += ["--data", str(self.data), "--device", "cpu", "--precision", "32"]
        asked += ["--set", "epochs=1", "--set", "batch_size=16"]
        app(asked, standalone_mode=False)


if __name__ == "__main__":
    process = Here(*map(Path, sys.argv[1:]))
    init_processes(COMPUTE)
    with process_group():
        process.trains()
    with process_group():
        process.differentiates()
        process.leaves_out()
    with process_group():
        process.evaluates()
    process.fails()
    process.is_refused()
    process.runs()
