"""The whole way on generated data: archives, shards, source network, three methods, table."""

import time
from pathlib import Path

from decathlon.common.errors import TrialError

METHODS = ("feature-extractor", "fine-tuning", "spottune")
WIDTH = 0.25
SOURCE_EPOCHS = 12
EPOCHS = 12
BATCH_SIZE = 32


def tour(out: Path, scale: float = 1.0) -> None:
    """Draws ten small domains, prepares them, pretrains, runs three methods, and scores.

    Args:
        out: Folder for archives, shards, weights and results.
        scale: Factor on the number of images and epochs; 1 takes minutes on two cores.

    Raises:
        TrialError: A trial failed.
    """
    from decathlon.common.progress import progress, say, say_next
    from decathlon.common.text import visible
    from decathlon.data.preparing.prepare import prepare
    from decathlon.data.reading.store import open_store
    from decathlon.demo.archives import write_archives
    from decathlon.method.recipe import apply
    from decathlon.running.pretraining import Pretraining, pretrain
    from decathlon.running.source_training import RECIPE
    from decathlon.scoring.board import board_of
    from decathlon.scoring.render.dispatch import render_boards

    began = time.perf_counter()
    archives, data, source = out / "archives", out / "data", out / "source.safetensors"
    if not (data / "manifest.json").is_file():
        write_archives(archives, scale=scale)
        prepare(archives, data, labels=archives / "labels_test.zip")
    store = open_store(data)
    epochs = max(1, round(SOURCE_EPOCHS * min(scale, 1)))
    settings = {"epochs": epochs, "batch_size": BATCH_SIZE}
    with progress("pretraining", epochs, "epochs") as bar:
        recipe = apply({"paper": RECIPE}, settings, "pretraining")
        config = Pretraining(store, source, recipe=recipe, width=WIDTH, split="test")
        done = pretrain(config, lambda facts: bar.advance(1, f"loss {facts['loss']:.3f}"))
    say(f"source network: {done.accuracy:.1f} % on {config.domain} test")
    epochs = max(1, round(EPOCHS * min(scale, 1)))
    for method in METHODS:
        _run(method, out, epochs)
    print(
        "\nThese numbers come from generated images and minutes of training. They show that"
        "\neverything works; do not compare them with published ones. Expect spottune behind"
        "\nfine-tuning: at first its policy sends images through frozen or tuned blocks at random,"
        "\nand about a hundred steps are too few to make up for that. One wrong image more or less"
        "\nmoves S by hundreds.\n"
    )
    render_boards([board_of(out / "results", split="test", baseline="fine-tuning")], "table", None)
    took = f"{time.perf_counter() - began:.0f} s"
    print(f"\ndone in {took}; data, weights and results are in {visible(str(out))}")
    page = ("--format", "html", "--out", out / "board.html")
    say_next("score", out / "results", "--baseline", "fine-tuning", *page)


def _run(method: str, out: Path, epochs: int) -> None:
    from decathlon.running.config import RunConfig
    from decathlon.running.display import display
    from decathlon.running.execution import execute
    from decathlon.running.resolve import resolve
    from decathlon.running.survey import survey

    config = RunConfig(
        methods=(method,),
        data=out / "data",
        results=out / "results",
        sources=(str(out / "source.safetensors"),),
        settings=(f"epochs={epochs}", f"batch_size={BATCH_SIZE}"),
    )
    with display() as listener:
        if execute(survey(resolve(config)), listener):
            raise TrialError(f"the demo's {method} failed; see the messages above")
