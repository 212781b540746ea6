"""How fast batches are served, beside a torch DataLoader and a bare gather.

    python tools/bench_loader.py [--images N] [--seconds S] [--json FILE]

Measured in one run, alternating, best of three rounds: batches of 64-pixel random crops
with flips, uint8, from the prepared shard; a torch DataLoader with two workers that opens
the same images as files with Pillow and does the same with torchvision's transforms; and
a gather of ready crops from RAM, which is the limit. Then the same for photographs: normalised
batches of random resized crops of 224 pixels, as training gets them, from 256-pixel shards, and a
DataLoader with two workers over torchvision's ImageFolder; both end on the GPU if there is one.
Last the anonymous resident memory while batches are served from a sparse stand-in of all of
ImageNet, 26 GB.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine, told
from options import output_file
from PIL import Image
from sample import jpegs, write_archives, write_photographs
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from decathlon.common.files import write_json
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.batches import Batches
from decathlon.data.reading.store import Images, open_store
from decathlon.data.shard import Columns, Header, create, open_shard
from decathlon.suites import fine_grained
from decathlon.suites.visual_decathlon import AUGMENTED, DOMAINS
from decathlon.suites.visual_decathlon import SOURCE as SOURCE_DOMAIN
from decathlon.training.device import Compute
from decathlon.training.feed import Feed

BATCH = 128
BAR, PHOTOGRAPHS_BAR, MEMORY = 15.0, 8.0, 1.5e9
ROUNDS = 3
PHOTOGRAPHS = 400
LONG = 1_000_000
"""Images in an epoch of a DataLoader, so that no round comes to its end: workers start once a
round."""


class Files(Dataset[torch.Tensor]):
    """Image files, opened and transformed one by one, as is usual."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir()
        self.paths = []
        for k, (data, _, _) in enumerate(jpegs()):
            path = folder / f"{k}.jpg"
            path.write_bytes(data)
            self.paths.append(path)
        self.count = count
        self.transform = v2.Compose(
            [v2.RandomCrop(64), v2.RandomHorizontalFlip(), v2.PILToTensor()]
        )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index % len(self.paths)]) as image:
            cut: torch.Tensor = self.transform(image.convert("RGB"))
        return cut


def rate(batches: Iterator[Any], seconds: float) -> float:
    """Returns images per second, from the second batch on: start-up is not counted."""
    next(batches)
    began, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        done += len(next(batches))
    return done / spent


def ours(images: Images) -> Iterator[np.ndarray]:
    batches, epoch = Batches(images, AUGMENTED.train, BATCH, domain=SOURCE_DOMAIN, seed=0), 0
    while True:
        yield from map(batches.gather, batches.cuts(epoch))
        epoch += 1


def gathered(count: int) -> Iterator[np.ndarray]:
    crops = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    rng = np.random.default_rng(1)
    while True:
        order = rng.permutation(count)
        for at in range(0, count - BATCH + 1, BATCH):
            yield crops[order[at : at + BATCH]]


def speeds(scratch: Path, images: int, seconds: float) -> dict[str, float]:
    """Returns the best rates in images per second."""
    write_archives(scratch / "archives", images)
    prepare(scratch / "archives", scratch / "data", jobs=2)
    prepared = open_store(scratch / "data").images(SOURCE_DOMAIN, ["train"])
    files = Files(scratch / "files", LONG)
    best = {"ours": 0.0, "loader": 0.0, "gather": 0.0}
    for _ in range(ROUNDS):
        loader = iter(DataLoader(files, BATCH, shuffle=True, num_workers=2))
        found = {
            "ours": rate(ours(prepared), seconds),
            "loader": rate(loader, seconds),
            "gather": rate(gathered(images), seconds),
        }
        del loader
        best = {name: max(best[name], value) for name, value in found.items()}
    return best


def usual(folder: Path) -> DataLoader[Any]:
    """Batches of random resized crops, as torchvision's and most training programs make them."""
    view = fine_grained.WHOLE.train
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(view.crop, scale=view.scale),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(fine_grained.MEAN, fine_grained.STD),
        ]
    )
    files = ImageFolder(str(folder / "train"), transform)
    return DataLoader(
        Subset(files, [*range(len(files))] * (LONG // len(files))), 48, True, num_workers=2
    )


def arrived(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Returns a batch once it is on the device."""
    images = images.to(device)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return images


def photographs(scratch: Path, seconds: float, threads: int) -> dict[str, float]:
    """Returns the best rates for photographs, in images per second."""
    folder, name = scratch / "photographs", "photographs"
    write_photographs(folder, PHOTOGRAPHS)
    prepare(None, scratch / "fine", suite=fine_grained.SUITE, folders={name: folder}, jobs=2)
    store, device = open_store(scratch / "fine"), Compute().fabric().device
    feed = Feed(store, name, ["train"], store.suite.views_of(name).train, 48, 0, device)
    loader, best = usual(folder), {"ours": 0.0, "loader": 0.0}
    torch.set_num_threads(threads)
    for _ in range(ROUNDS):
        batches = (arrived(batch.images, device) for batch in feed.training(0, lambda _: 0.0))
        best["ours"] = max(best["ours"], rate(batches, seconds))
        batches = (arrived(images, device) for images, _ in loader)
        best["loader"] = max(best["loader"], rate(batches, seconds))
    return best


def resident() -> float:
    """Returns RssAnon of this process in bytes."""
    status = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in status if line.startswith("RssAnon"))) * 1024


def stand_in(scratch: Path, seconds: float) -> dict[str, float]:
    """Serves batches of a sparse shard of the size of ImageNet; returns memory and rate."""
    count = DOMAINS[SOURCE_DOMAIN].sizes[0]
    sizes = np.full(count, 72, np.int64), np.full(count, 96, np.int64)
    columns = Columns(*sizes, *(np.arange(count) % n for n in (1000, count, 1)))
    names = tuple(f"class {k}" for k in range(1000))
    path = scratch / "sparse.h5"
    create(path, Header(SOURCE_DOMAIN, "train", names, tuple(range(1000)), "0" * 64), columns)
    del columns
    before = resident()
    images = Images([open_shard(path)], {})
    served = rate(ours(images), seconds)
    return {
        "images": count,
        "bytes": path.stat().st_size,
        "before": before,
        "anonymous": resident(),
        "rate": served,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    here = machine()
    print(told(here))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        large = stand_in(Path(folder), options.seconds)
        best = speeds(Path(folder), options.images, options.seconds)
        photos = photographs(Path(folder), options.seconds, threads)
    ratios = {
        "to_loader": best["ours"] / best["loader"],
        "to_gather": best["ours"] / best["gather"],
        "photographs_to_loader": photos["ours"] / photos["loader"],
    }
    print(f"{options.images} images, batches of {BATCH}, images/s, best of {ROUNDS} rounds")
    print(f"  batches from the shard           {best['ours']:9.0f}")
    print(f"  torch DataLoader, two workers    {best['loader']:9.0f}")
    print(f"  bare gather from RAM             {best['gather']:9.0f}")
    print(f"  shard / DataLoader               {ratios['to_loader']:9.1f}  (bar {BAR:.0f})")
    print(f"  shard / bare gather              {ratios['to_gather']:9.2f}")
    print(f"  photographs, from the shard       {photos['ours']:9.0f}")
    print(f"  photographs, ImageFolder         {photos['loader']:9.0f}")
    ratio = ratios["photographs_to_loader"]
    print(f"  shard / ImageFolder              {ratio:9.1f}  (bar {PHOTOGRAPHS_BAR:.0f})")
    print(
        f"  {large['images']:.0f} images, {large['bytes'] / 1e9:.0f} GB sparse: RssAnon"
        f" {large['anonymous'] / 1e6:.0f} MB (bar {MEMORY / 1e6:.0f}; {large['before'] / 1e6:.0f}"
        f" before opening), {large['rate']:.0f} images/s"
    )
    if options.json:
        bars = {"to_loader": BAR, "photographs_to_loader": PHOTOGRAPHS_BAR, "anonymous": MEMORY}
        found = {"machine": here, "images": options.images, "rates": best, "ratios": ratios}
        found["photographs"] = {"rates": photos, "images": PHOTOGRAPHS, "threads": threads}
        write_json(options.json, {**found, "bars": bars, "large": large})


if __name__ == "__main__":
    main()
