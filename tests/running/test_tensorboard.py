"""TensorBoard's curves: what they show, and that a resumed run repeats nothing in them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from decathlon.commands.training import pretrain
from decathlon.results.records import find_records, read_record
from decathlon.running.config import Checkpointing, RunConfig
from decathlon.running.events import Epoch, Event, to_all
from decathlon.running.execution import execute
from decathlon.running.resolve import resolve
from decathlon.running.run import Run
from decathlon.running.survey import survey
from decathlon.running.tensorboard import Curves, TrialCurves
from decathlon.training.device import Compute


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder: (step, value) by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def asked(tiny: Path, source: Path, results: Path, *domains: str) -> Run:
    config = RunConfig(
        ("spottune",),
        tiny,
        results,
        (str(source),),
        domains,
        settings=("epochs=4", "batch_size=16"),
        compute=Compute("cpu", "32"),
        checkpointing=Checkpointing(seconds=0),
    )
    (run,) = resolve(config)
    return run


def interrupt(event: Event) -> None:
    """Ends the run after an epoch's curves are written, before it is in a checkpoint."""
    if isinstance(event, Epoch) and event.facts["epoch"] == 3:
        raise KeyboardInterrupt


def test_a_resumed_run_shows_every_epoch_once(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    run = asked(tiny, tiny_source, tmp_path / "r", "dtd")
    with pytest.raises(KeyboardInterrupt):
        execute(survey([run]), to_all(TrialCurves(tmp_path / "t"), interrupt))
    execute(survey([run]), TrialCurves(tmp_path / "t"))
    found = scalars(tmp_path / "t" / "spottune" / "dtd" / "test" / "seed0")
    assert set(found) == {"loss", "images_per_s", "lr/group0", "lr/group1", "accuracy"}
    assert [step for step, _ in found["loss"]] == [1, 2, 3, 4]
    assert [round(rate, 6) for _, rate in found["lr/group0"]] == [0.1, 0.1, 0.01, 0.001]
    (path,) = find_records(tmp_path / "r")
    assert found["accuracy"] == [(4, pytest.approx(read_record(path).accuracy, rel=1e-5))]


def test_a_network_that_is_kept_has_its_accuracy_only(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    run = asked(tiny, tiny_source, tmp_path / "r", "imagenet12")
    execute(survey([run]), TrialCurves(tmp_path / "t"))
    found = scalars(tmp_path / "t" / "spottune" / "imagenet12" / "test" / "seed0")
    assert list(found) == ["accuracy"]


def test_pretraining_has_its_curve(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain(
        tmp_path / "plain.safetensors",
        data=tiny,
        width=0.25,
        settings=["epochs=2", "batch_size=32"],
        precision="32",
        device="cpu",
        tensorboard=tmp_path / "t",
    )
    found = scalars(tmp_path / "t" / "plain")
    assert [step for step, _ in found["loss"]] == [1, 2]
    (accuracy,) = found["accuracy"]
    assert f"{accuracy[1]:.2f} % on imagenet12 val" in capsys.readouterr().out


def test_nothing_is_made_before_there_is_something_to_write(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "t")
    curves.accuracy(None)
    curves.close()
    assert not (tmp_path / "t").exists()


def without_tensorboard(folder: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command where tensorboard cannot be imported."""
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "__init__.py").write_text("raise ImportError('not there')\n")
    path = f"{folder}{os.pathsep}{Path(__file__).parents[2]}"
    command = [sys.executable, "-m", "decathlon", *words]
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_without_tensorboard_it_is_said_how_to_install_it(tmp_path: Path) -> None:
    words = ["run", "--method", "scratch", "--data", "/none", "--tensorboard", str(tmp_path / "t")]
    ended = without_tensorboard(tmp_path, words)
    assert ended.returncode == 2, ended.stderr
    assert "pip install 'decathlon[track]'" in ended.stderr
    assert "Traceback" not in ended.stderr
