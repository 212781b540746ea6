"""What is told of a run, on a terminal and off it."""

import io
import re

import pytest
from rich.console import Console
from rich.live import Live

from decathlon.errors import TrialError
from decathlon.plan import Trial
from decathlon.watch import LiveWatch, PlainWatch

TRIAL = Trial("spottune", ("dtd",), "val", 0)
OTHER = Trial("[bold]x", ("svhn",), "val", 1)
FACTS = {"epoch": 3, "epochs": 9, "loss": 1.25, "images_per_s": 321.0}


def test_lines_say_what_begins_and_what_fails(capsys: pytest.CaptureFixture[str]) -> None:
    watch = PlainWatch()
    watch.planned([TRIAL], [OTHER])
    watch.started(TRIAL)
    watch.failed(TRIAL, TrialError("the loss is nan"))
    said = capsys.readouterr().err
    assert "1 trials to run, 1 done already" in said
    assert "spottune, dtd, val, seed 0: started" in said
    assert "FAILED: the loss is nan" in said


def test_table_shows_every_trial_and_escapes_names() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        watch = LiveWatch(live)
        watch.planned([TRIAL], [OTHER])
        watch.started(TRIAL)
        watch.epoch(TRIAL, FACTS)
        live.refresh()
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "[bold]x, svhn, val, seed 1" in said
    assert re.search(r"spottune, dtd.*training.*3/9.*1\.250.*321/s", said)
