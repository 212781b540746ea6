"""What is told of a run, on a terminal and off it."""

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from decathlon.running.display import ROWS, LiveTable, PlainLines, summarise
from decathlon.running.events import Epoch, Planned, Started, Waiting
from decathlon.running.faults import Failure
from decathlon.running.run import Trial
from decathlon.running.survey import State, TrialState

TRIAL = Trial("spottune", ("dtd",), "val", 0)
OTHER = Trial("[bold]x", ("svhn",), "val", 1)
FACTS = {"epoch": 3, "epochs": 9, "loss": 1.25, "images_per_s": 321.0}
LOST = Failure(TRIAL, 1, "the loss is nan; lower the learning rate")


def stands(trial: Trial, state: Any, epoch: int = 0) -> TrialState:
    return TrialState(SimpleNamespace(), trial, state, epoch)  # type: ignore[arg-type]


def terminal(height: int = 50) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=120, height=height, color_system=None
    )


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def test_lines_say_what_begins_and_what_fails(capsys: pytest.CaptureFixture[str]) -> None:
    listener = PlainLines()
    listener(
        Planned(
            (
                stands(TRIAL, "begun", epoch=4),
                stands(OTHER, "done"),
            )
        )
    )
    listener(Started(TRIAL))
    listener(LOST)
    listener(Waiting((OTHER,)))
    listener(Waiting((OTHER,)))
    said = capsys.readouterr().err
    assert "1 trial to run (1 to resume), 1 already done" in said
    assert "spottune, dtd, val, seed 0: resumed after epoch 4" in said
    assert "FAILED: the loss is nan" in said
    assert said.count("waiting for other processes, which are running 1 trial") == 1


def test_table_shows_every_trial_and_escapes_names() -> None:
    console = terminal()
    with Live(console=console, auto_refresh=False) as live:
        listener = LiveTable(live)
        listener(
            Planned(
                (
                    stands(TRIAL, "to do"),
                    stands(OTHER, "done"),
                )
            )
        )
        listener(Started(TRIAL))
        listener(Epoch(TRIAL, FACTS))
        live.refresh()
    said = text(console)
    assert "[bold]x, svhn, val, seed 1" in said
    assert re.search(r"spottune, dtd.*training.*3/9.*1\.250.*321/s", said)
    assert "1 of 2 done, 0 failed" in said


def test_of_many_trials_the_one_at_work_is_shown() -> None:
    trials = [Trial("m", ("dtd",), "val", seed) for seed in range(3 * ROWS)]
    console = terminal()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        listener = LiveTable(live)
        listener(Planned(tuple(stands(trial, "to do") for trial in trials)))
        for at in (0, ROWS, 3 * ROWS - 1):
            listener(Started(trials[at]))
            table = live.get_renderable()
            shown = terminal()
            shown.print(table)
            assert f"m, dtd, val, seed {at} " in text(shown)
            assert text(shown).count("m, dtd, val, seed") == ROWS


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("height", [12, 24, 50])
def test_the_table_fits_the_terminal(width: int, height: int) -> None:
    name = "a-variant-with-a-name-of-over-forty-characters"
    trials = [Trial(name, ("vgg-flowers",), "val", seed) for seed in range(40)]
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        listener = LiveTable(live)
        listener(Planned(tuple(stands(trial, "to do") for trial in trials)))
        listener(Started(trials[20]))
        listener(Epoch(trials[20], FACTS))
        table = live.get_renderable()
    shown = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    shown.print(table)
    lines = text(shown).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    squeezed = "".join("".join(lines).split())
    assert "vgg-flowers,val,seed20" in squeezed or width < 80
    assert "321/s" in squeezed
    assert "…" not in squeezed


SAME = [
    Failure(Trial("dan", (d,), "val", 0), 3, "a source\nof another kind") for d in ("dtd", "svhn")
]


def test_the_end_lists_what_failed_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    summarise([LOST, *SAME], total=7)
    assert capsys.readouterr().err.splitlines() == [
        "3 of 7 trials failed:",
        "  spottune, dtd, val, seed 0: the loss is nan; lower the learning rate",
        "  dan, dtd svhn, val, seed 0: a source",
        "of another kind",
    ]
    summarise([], total=7)
    assert capsys.readouterr().err == ""


def test_the_end_is_a_table_on_a_terminal() -> None:
    console = terminal()
    summarise([LOST, *SAME], total=7, console=console)
    said = text(console)
    assert "3 of 7 trials failed:" in said
    assert "why, and what to do" in said
    assert re.search(r"spottune, dtd, val, seed 0 *.* *the loss is nan; lower", said)
    assert said.count("a source") == 1


@pytest.mark.parametrize(
    ("state", "epoch", "said"),
    [
        ("to do", 0, "started"),
        ("begun", 0, "resumed within the first epoch"),
        ("begun", 3, "resumed after epoch 3"),
        ("failed", 2, "resumed after epoch 2"),
        ("held", 0, "taken over from a process that ended"),
    ],
)
def test_a_trial_says_where_it_starts(
    capsys: pytest.CaptureFixture[str], state: State, epoch: int, said: str
) -> None:
    listener = PlainLines()
    listener(Planned((stands(TRIAL, state, epoch=epoch),)))
    listener(Started(TRIAL))
    assert capsys.readouterr().err.endswith(f"seed 0: {said}\n")
