"""Trackers: what their curves show, and that none of them can end a training."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from decathlon.commands.training import pretrain
from decathlon.common.errors import UsageError
from decathlon.results.records import find_records, read_record
from decathlon.running.config import Checkpointing, RunConfig
from decathlon.running.events import Epoch, Event, to_all
from decathlon.running.execution import execute
from decathlon.running.resolve import resolve
from decathlon.running.run import Run
from decathlon.running.survey import survey
from decathlon.running.tracking import Tracker, TrialCurves, trackers_of
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


def curves(folder: Path) -> TrialCurves:
    """A listener that writes TensorBoard's curves."""
    (tracker,) = trackers_of([f"tensorboard:{folder}"])
    return TrialCurves(tracker)


def interrupt(event: Event) -> None:
    """Ends the run after an epoch's curves are written, before it is in a checkpoint."""
    if isinstance(event, Epoch) and event.facts["epoch"] == 3:
        raise KeyboardInterrupt


def test_a_resumed_run_shows_every_epoch_once(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    run = asked(tiny, tiny_source, tmp_path / "r", "dtd")
    with pytest.raises(KeyboardInterrupt):
        execute(survey([run]), to_all(curves(tmp_path / "t"), interrupt))
    execute(survey([run]), curves(tmp_path / "t"))
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
    execute(survey([run]), curves(tmp_path / "t"))
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
    (tracker,) = trackers_of([f"tensorboard:{tmp_path / 't'}"])
    tracker.accuracy("plain", None, 0, {})
    assert not (tmp_path / "t").exists()


class Breaking:
    """Curves of a service that is lost after the second epoch."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.seen.append(step)
        if step == 2:
            raise ConnectionError("no route to host")

    def close(self) -> None:
        raise ConnectionError("no route to host")


def test_a_tracker_that_fails_does_not_end_the_training(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    run, seen = asked(tiny, tiny_source, tmp_path, "dtd"), list[int]()
    tracker = Tracker("broken:p", lambda name, settings: Breaking(seen))
    with pytest.warns(UserWarning, match="--track broken:p: .*no route") as said:
        assert execute(survey([run]), TrialCurves(tracker)) == []
    assert len(said) == 1
    assert seen == [1, 2]
    assert len(list(find_records(tmp_path))) == 1


def decathlon(
    folder: Path, words: Sequence[object], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, whose packages come first."""
    before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2]), *before])
    return subprocess.run(
        [sys.executable, "-m", "decathlon", *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
    )


def test_without_tensorboard_it_is_said_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "__init__.py").write_text("raise ImportError('not there')\n")
    words = ["run", "--method", "scratch", "--data", "/none", "--tensorboard", "t"]
    ended = decathlon(tmp_path, words)
    assert ended.returncode == 2, ended.stderr
    assert "pip install 'decathlon[track]'" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("wandb:p", r"pip install 'decathlon\[wandb\]'"),
        ("trackio:p", r"pip install 'decathlon\[trackio\]'"),
        ("wanbd:p", r"unknown tracker 'wanbd', did you mean 'wandb'\?"),
        ("wandb", "write --track wandb:PROJECT"),
    ],
)
def test_what_cannot_be_tracked_is_one_message(
    option: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("wandb", "trackio"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(UsageError, match=said):
        trackers_of([option])


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_service_gets_the_curves_offline(
    tiny: Path, tiny_source: Path, tmp_path: Path, name: str
) -> None:
    pytest.importorskip(name)
    words = ["run", "--method", "fine-tuning", "--domain", "dtd", "--set", "epochs=2"]
    words += ["--set", "batch_size=16", "--device", "cpu", "--data", tiny, "--source", tiny_source]
    own = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "TRACKIO_DIR": str(tmp_path / "t")}
    ended = decathlon(tmp_path, [*words, "--track", f"{name}:bench"], **own)
    assert ended.returncode == 0, ended.stderr
    assert "warning: --track" not in ended.stderr
    (path,) = find_records(tmp_path / "results")
    accuracy = read_record(path).accuracy
    assert accuracy is not None
    if name == "wandb":
        assert list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
        assert f"accuracy {accuracy:.5f}".rstrip("0") in ended.stderr
    else:
        (database,) = (tmp_path / "t").glob("bench.db")
        with closing(sqlite3.connect(database)) as stored:
            rows = stored.execute("SELECT step, metrics FROM metrics ORDER BY id").fetchall()
        assert [step for step, _ in rows] == [1, 2, 2]
        assert json.loads(rows[-1][1]) == {"accuracy": pytest.approx(accuracy)}
