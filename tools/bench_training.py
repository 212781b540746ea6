"""What a training step and a prediction of each method cost, beside fine-tuning.

    python tools/bench_training.py [--methods a,b] [--precision auto|32|bf16] [--network NAME]
        [--width W] [--batch N] [--side PIXELS] [--pairs K] [--json FILE]

Every step of a method is paired with one of fine-tuning on the same batch, and the ratio
is the median over the pairs: what else the machine does falls on both. Batches come from
generated images through the real feed, whose time is measured too; with --side, they are noise
of that many pixels. The machine's own rate of matrix multiplication in the same precision, taken
before and after each step, says how much of it is used.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from pathlib import Path

import torch
from lightning_fabric import Fabric
from machine import machine, told
from options import output_file
from sample import CLASSES, write_archives
from torch import Tensor

from decathlon.common.files import write_json
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.store import open_store
from decathlon.method.base import Batch, Method, Task
from decathlon.method.registry import find
from decathlon.models.flops import count_flops
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source
from decathlon.running.cost import PeakMemory
from decathlon.training.device import Compute, has_native_bf16, to_device
from decathlon.training.feed import Feed
from decathlon.training.loop import Objective
from decathlon.training.optimisers import Optimisers

BASELINE = "fine-tuning"
TASK = Task("generated", CLASSES, 3334)
MATRICES = (256, 512, 1024, 2048)
MOMENT = 0.5
"""Seconds that the matrix product is timed for, before and after a step."""
BARS = {
    "resnet26": {
        "spottune": {"train_ratio": {"32": 1.30, "bf16": 1.40}, "infer_ratio": 1.28, "flops": 1.21}
    },
    "resnet50": {"spottune": {"train_ratio": {"32": 1.40, "bf16": 1.40}, "infer_ratio": 1.37}},
}
"""By network. The policy network has 0.22 of a ResNet-50's operations."""


@dataclass
class Row:
    """What was measured of one method.

    Attributes:
        method: Its registered name.
        precision: ``32`` or ``bf16``.
        train_ratio: Time of a training step, by fine-tuning's; median over pairs.
        infer_ratio: The same of a prediction.
        train_images_per_s: At the median step.
        infer_images_per_s: At the median prediction.
        train_flops: Floating-point operations of a training step, an image.
        infer_flops: The same of a prediction.
        infer_flops_ratio: By fine-tuning's.
        train_matmul_share: Rate of the training step's operations by that of a matrix product
            just before and after; median over steps.
        peak_bytes: Highest memory of a training step: allocated on a GPU, else resident.
    """

    method: str
    precision: str
    train_ratio: float = 1.0
    infer_ratio: float = 1.0
    train_images_per_s: float = 0.0
    infer_images_per_s: float = 0.0
    train_flops: float = 0.0
    infer_flops: float = 0.0
    infer_flops_ratio: float = 1.0
    train_matmul_share: float = 0.0
    peak_bytes: float = 0.0


class Bench:
    """One method, ready to take steps and to predict.

    Training and prediction have a network each: every prediction is then of the network
    in its final form, as in a run.
    """

    def __init__(self, name: str, network_name: str, width: float, fabric: Fabric) -> None:
        kind = find(name)
        method: Method = kind(kind.recipes["paper"])
        architecture = replace(method.pretraining(width), name=network_name, blocks=())
        plain = Architecture(network_name, width).build(CLASSES)
        tensors = architecture.build(CLASSES).state_dict() | plain.state_dict()
        source = Source(architecture, CLASSES, tensors)
        self.name, self.method, self.fabric = name, method, fabric
        network = method.build(source, [TASK])
        to_device(network, fabric.device)
        self.objective = fabric.setup_module(Objective(method, network))
        # The last phase: the one that all of the network learns in.
        phase = method.phases(network, [TASK])[-1]
        if phase.begin is not None:
            phase.begin()
        self.optimisers = Optimisers(phase, fabric)
        self.optimisers.set_rates([0.0 for _ in self.optimisers.groups])
        self.network = network.train()
        self.final = method.finalise(method.build(source, [TASK])).eval()
        to_device(self.final, fabric.device)

    def step(self, batch: Batch) -> None:
        """Takes one step of training."""
        loss: Tensor = self.objective(batch)
        self.fabric.backward(loss)
        self.optimisers.step()
        _wait(self.fabric)

    def predict(self, batch: Batch) -> None:
        """Predicts one batch."""
        with torch.inference_mode(), self.fabric.autocast():
            self.method.predict(self.final, batch)
        _wait(self.fabric)


def _wait(fabric: Fabric) -> None:
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()


def timed(work: Callable[..., object], *what: object) -> float:
    """Returns the seconds that some work takes."""
    began = time.perf_counter()
    work(*what)
    return time.perf_counter() - began


class Product:
    """The matrix product that is the machine's quickest in a precision."""

    def __init__(self, fabric: Fabric, precision: str) -> None:
        """Finds it among several sizes, and both orders of the second matrix in memory."""
        self.fabric, self.rate = fabric, 0.0
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        for size in MATRICES:
            a, b = (torch.randn(size, size, device=fabric.device).to(dtype) for _ in range(2))
            for pair in ((a, b), (a, b.T)):
                self._multiply(pair)
                rate = 2 * size**3 / min(timed(self._multiply, pair) for _ in range(8))
                if rate > self.rate:
                    self.rate, self.pair = rate, pair

    def _multiply(self, pair: tuple[Tensor, Tensor]) -> None:
        with self.fabric.autocast():
            torch.mm(*pair)
        _wait(self.fabric)

    def now(self) -> float:
        """Returns its rate over a moment, in operations per second.

        All of the moment counts, as all of a step does: what else the machine does in it too.
        """
        spent = [timed(self._multiply, self.pair)]
        while sum(spent) < MOMENT:
            spent.append(timed(self._multiply, self.pair))
        return 2 * len(self.pair[0]) ** 3 * len(spent) / sum(spent)


def measure(
    one: Bench, base: Bench, batches: Iterator[Batch], pairs: int, product: Product, row: Row
) -> None:
    """Measures a method beside the baseline, alternating, and fills in its row."""
    train: list[tuple[float, float]] = []
    infer: list[tuple[float, float]] = []
    possible: list[float] = []
    for turn in range(pairs + 1):
        batch = next(batches)
        order = (one, base) if turn % 2 else (base, one)
        order = order if one is not base else (one,)
        rate = product.now()
        spent = {bench.name: timed(bench.step, batch) for bench in order}
        rate = (rate + product.now()) / 2
        guessed = {bench.name: timed(bench.predict, batch) for bench in order}
        if turn:  # the first is for warming up
            train.append((spent[one.name], spent[base.name]))
            infer.append((guessed[one.name], guessed[base.name]))
            possible.append(spent[one.name] * rate)
    count = len(batch.labels)
    row.train_ratio = statistics.median(a / b for a, b in train)
    row.infer_ratio = statistics.median(a / b for a, b in infer)
    row.train_images_per_s = count / statistics.median(a for a, _ in train)
    row.infer_images_per_s = count / statistics.median(a for a, _ in infer)
    memory = PeakMemory(one.fabric.device)
    one.step(batch)
    row.peak_bytes = memory.read() or 0
    operations = count_flops(lambda: one.step(batch))
    row.train_flops = operations / count
    row.train_matmul_share = statistics.median(operations / most for most in possible)
    row.infer_flops = count_flops(lambda: one.predict(batch)) / count
    row.infer_flops_ratio = row.infer_flops / (count_flops(lambda: base.predict(batch)) / count)


def noise(batch: int, side: int, device: torch.device) -> Iterator[Batch]:
    """Yields batches of noise without end; all are the same tensors."""
    images = torch.randn(batch, 3, side, side, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    ids = torch.arange(batch, device=device)
    yield from repeat(Batch(images, ids % CLASSES, ids, 0, 0.5, TASK.domain))


def fed(batch: int, folder: Path, device: torch.device) -> Iterator[Batch]:
    """Yields batches of generated images through the real feed, without end."""
    write_archives(folder / "archives", 2000)
    prepare(folder / "archives", folder / "data")
    store = open_store(folder / "data")
    (domain,) = store.domains
    view = store.suite.views_of(domain).train
    return Feed(store, domain, ("train",), view, batch, 0, device).training(0, lambda _: 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--methods", default=f"{BASELINE},spottune")
    parser.add_argument("--precision", default="auto", choices=["auto", "32", "bf16"])
    parser.add_argument("--network", default="resnet26", help="as in 'decathlon networks'")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, help="default: 64, with --side 16")
    parser.add_argument("--side", type=int, help="default: the feed's, for resnet50 and 101 224")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    if options.side is None and options.network != "resnet26":
        options.side = 224
    options.batch = options.batch or (16 if options.side else 64)
    here = machine()
    print(told(here))
    compute = Compute(precision=options.precision)
    if options.precision == "bf16" and not has_native_bf16(compute.accelerator()):
        print("  no bf16 instructions here: nothing is measured")
        return
    fabric = compute.fabric()
    precision = "bf16" if "bf16" in compute.environment(fabric)["precision"] else "32"
    product = Product(fabric, precision)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if options.side:
            batches = noise(options.batch, options.side, fabric.device)
        else:
            batches = fed(options.batch, Path(folder), fabric.device)
        feeding = statistics.median(timed(lambda: next(batches)) for _ in range(30))
        torch.manual_seed(0)
        base = Bench(BASELINE, options.network, options.width, fabric)
        for name in dict.fromkeys(options.methods.split(",")):
            row = Row(name, precision)
            one = base
            if name != BASELINE:
                one = Bench(name, options.network, options.width, fabric)
            measure(one, base, batches, options.pairs, product, row)
            rows.append(row)
            print(tell(row), flush=True)
    share = feeding / (options.batch / rows[0].train_images_per_s)
    if not options.side:
        print(f"  the loader takes {100 * share:.2f} % of a step of {rows[0].method}")
    here = {
        **here,
        **{k: v for k, v in compute.environment(fabric).items() if k != "git"},
        "threads": torch.get_num_threads(),
        "matmul_flops_per_s": product.rate,
    }
    if options.json:
        table = [asdict(row) for row in rows]
        settings = {k: getattr(options, k) for k in ("network", "width", "batch", "side", "pairs")}
        write_json(
            options.json,
            {
                "machine": here,
                **settings,
                "loader_share": None if options.side else share,
                "rows": table,
                "bars": BARS.get(options.network),
            },
        )


def tell(row: Row) -> str:
    """Returns a row as text."""
    return (
        f"{row.method:24s} {row.precision:>4s}"
        f"  train x {row.train_ratio:.3f} {row.train_images_per_s:8.0f} images/s"
        f"  infer x {row.infer_ratio:.3f} {row.infer_images_per_s:8.0f} images/s"
        f"  GFLOP {row.train_flops / 1e9:.2f} {row.infer_flops / 1e9:.2f}"
        f" (x {row.infer_flops_ratio:.3f})"
        f"  matmul {100 * row.train_matmul_share:.0f} %  peak {row.peak_bytes / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
