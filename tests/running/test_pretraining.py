"""Source networks on disk: finished ones are skipped, and nothing else is overwritten silently."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import UsageError
from decathlon.common.locks import claim
from decathlon.data.manifest import DIGEST
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.store import Store, open_store
from decathlon.demo.archives import write_archives
from decathlon.method.code import code_of
from decathlon.models.weights import read_weights, write_weights
from decathlon.results.records import Code
from decathlon.running import pretraining
from decathlon.running.config import Checkpointing
from decathlon.running.pretraining import Pretrained, Pretraining
from decathlon.running.source_training import SourceRecipe
from decathlon.training.checkpoints import peek
from decathlon.training.device import Compute


class StoppedError(Exception):
    """Ends a training as a kill would."""


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pretrain(store: Store, out: Path, **changes: Any) -> Pretrained:
    options: dict[str, Any] = {
        "recipe": SourceRecipe(epochs=1, batch_size=16),
        "width": 0.25,
        "compute": Compute("cpu", "32"),
        "report": lambda facts: None,
    }
    options |= changes
    report = options.pop("report")
    return pretraining.pretrain(Pretraining(store, out, **options), report)


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "source.safetensors"
    assert pretrain(open_store(tiny), out).seconds is not None
    return out


def test_a_finished_source_is_not_trained_again(tiny: Path, finished: Path) -> None:
    before = finished.stat().st_mtime_ns
    done = pretrain(open_store(tiny), finished, compute=Compute("cpu", "32", threads=2))
    assert done.seconds is None
    assert done.accuracy == read_weights(finished)[0]["accuracy"]["val"]
    assert finished.stat().st_mtime_ns == before
    assert [path.name for path in finished.parent.iterdir()] == [finished.name]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": SourceRecipe(epochs=2, batch_size=16)}, "recipe.epochs was 1, now 2"),
        ({"seed": 1}, "seed was 0, now 1"),
        ({"split": "test"}, "data.test was not set"),
        ({"width": 0.5}, "architecture.width was 0.25, now 0.5"),
        ({"method_name": "series-adapters"}, 'architecture.adapters was "none", now "series"'),
        ({"method_name": "scratch"}, "code.sha256 was"),
        ({"compute": Compute("cpu", "bf16")}, "precision was"),
    ],
)
def test_a_source_that_was_trained_differently_is_not_overwritten(
    tiny: Path, finished: Path, changes: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decathlon.training.device.has_native_bf16", lambda accelerator: True)
    before = finished.read_bytes()
    with pytest.raises(UsageError, match=f"was trained differently: {said}.*--force"):
        pretrain(open_store(tiny), finished, **changes)
    assert finished.read_bytes() == before


def test_other_data_and_other_code_are_another_source(
    tiny: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = Code(distribution="decathlon", version="9", sha256="0" * 64)
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "code_of", lambda name: other)
        with pytest.raises(UsageError, match=r"code.sha256 was"):
            pretrain(open_store(tiny), finished)
    newer = code_of("fine-tuning").model_copy(update={"version": "9"})
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "code_of", lambda name: newer)
        assert pretrain(open_store(tiny), finished).seconds is None
    manifest = json.loads((tiny / "manifest.json").read_text())
    manifest.pop(DIGEST, None)
    digest = open_store(tiny).domains["imagenet12"].splits["val"].digest
    (tmp_path / "imagenet12").symlink_to(tiny / "imagenet12")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest).replace(digest, "0" * 64))
    with pytest.raises(UsageError, match=r"data.val was"):
        pretrain(open_store(tmp_path), finished)


def test_a_source_of_an_older_version_counts_with_a_warning(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    header, _ = read_weights(finished)
    write_weights(
        tmp_path / "old.safetensors", {k: v for k, v in header.items() if k != "code"}, {}
    )
    with pytest.warns(UserWarning, match="does not tell which code"):
        assert pretrain(open_store(tiny), tmp_path / "old.safetensors").seconds is None


def text(path: Path) -> None:
    path.write_text("notes of mine\n")


def imported(path: Path) -> None:
    write_weights(path, {"kind": "source", "imported": {"file": "x.t7"}}, {})


def trained(path: Path) -> None:
    write_weights(path, {"kind": "method", "method": "spottune", "recipe": {}}, {})


@pytest.mark.parametrize("make", [text, imported, trained])
def test_a_file_of_something_else_is_overwritten_with_force_only(
    tiny: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    out = tmp_path / "x.safetensors"
    make(out)
    before = out.read_bytes()
    with pytest.raises(UsageError, match=r"exists already, and was not .*--force"):
        pretrain(open_store(tiny), out)
    assert out.read_bytes() == before
    assert pretrain(open_store(tiny), out, force=True).seconds is not None
    assert read_weights(out)[0]["method"] == "fine-tuning"


def interrupt(store: Store, out: Path) -> Path:
    def stop(facts: dict[str, Any]) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        pretrain(
            store,
            out,
            recipe=SourceRecipe(epochs=3, batch_size=16),
            report=stop,
            checkpointing=Checkpointing(seconds=0),
        )
    return out.with_name(f"{out.name}.checkpoints")


@pytest.mark.parametrize("threads", [0, 3])
def test_an_interrupted_training_is_resumed_or_kept(
    tiny: Path, tmp_path: Path, threads: int
) -> None:
    store, out = open_store(tiny), tmp_path / "x.safetensors"
    folder = interrupt(store, out)
    before = peek(folder)
    assert before is not None
    epochs: list[int] = []
    before_threads = torch.get_num_threads()
    same = {
        "recipe": SourceRecipe(epochs=3, batch_size=16),
        "report": lambda f: epochs.append(f["epoch"]),
    }
    if threads:
        with pytest.raises(UsageError, match="threads was"):
            pretrain(store, out, **same, compute=Compute("cpu", "32", threads))
        torch.set_num_threads(before_threads)
    with pytest.raises(
        UsageError, match=r"another training \(recipe.epochs was 3, now 1\).*--force"
    ):
        pretrain(store, out)
    assert peek(folder) == before
    pretrain(store, out, **same)
    assert epochs[-1] == 3
    assert not folder.exists()


def test_force_discards_the_checkpoints_of_another_training(tiny: Path, tmp_path: Path) -> None:
    store, out = open_store(tiny), tmp_path / "x.safetensors"
    folder = interrupt(store, out)
    with pytest.warns(UserWarning, match="not used; starting again"):
        assert pretrain(store, out, force=True).seconds is not None
    assert not folder.exists()


def test_two_commands_do_not_train_the_same_file(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    with (
        claim(tmp_path / "x.safetensors.checkpoints"),
        pytest.raises(UsageError, match="another process is training it"),
    ):
        pretrain(open_store(tiny), out)


@pytest.mark.parametrize("name", ["source.pth", "source", ".safetensors", "folder.safetensors"])
@pytest.mark.parametrize("command", [["pretrain", "--out"], ["import-weights", "in.t7"]])
def test_weights_have_a_name_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    done = CliRunner().invoke(app, [*command, name])
    assert isinstance(done.exception, UsageError)
    assert "safetensors" in str(done.exception)


def test_a_suite_without_a_source_domain_asks_for_imported_weights(
    tiny: Path, tmp_path: Path
) -> None:
    store = open_store(tiny)
    store.suite = replace(store.suite, source=None)
    with pytest.raises(UsageError, match="import weights with 'decathlon import-weights'"):
        pretrain(store, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_command_says_that_a_source_is_finished(tiny: Path, finished: Path) -> None:
    words = ["pretrain", "--out", str(finished), "--data", str(tiny), "--width", "0.25"]
    words += ["--set", "epochs=1", "--set", "batch_size=16", "--precision", "32", "--device", "cpu"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "already finished" in done.output


def test_the_length_of_a_pretraining_may_be_in_steps(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "source.safetensors"
    words = ["pretrain", "--out", str(out), "--data", str(tiny), "--width", "0.1"]
    words += ["--set", "steps=4", "--set", "batch_size=16", "--set", "milestones=[]"]
    done = CliRunner().invoke(app, [*words, "--precision", "32", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    store = open_store(tiny)
    per_epoch = -(-store.domains["imagenet12"].splits["train"].num_images // 16)
    assert f"pretraining: {-(-4 // per_epoch)}/{-(-4 // per_epoch)} epochs" in done.output
    assert read_weights(out)[0]["recipe"]["steps"] == 4
    config = Pretraining(
        store, out, recipe=SourceRecipe(epochs=None, batch_size=16, steps=3 * per_epoch)
    )
    assert config.epochs == 3


def test_the_command_ends_well_without_labels(tmp_path: Path) -> None:
    archives, data = tmp_path / "archives", tmp_path / "data"
    write_archives(archives, scale=0.05)
    prepare(archives, data, domains=["imagenet12"], jobs=1)
    words = ["pretrain", "--data", str(data), "--out", str(tmp_path / "source.safetensors")]
    words += ["--split", "test", "--width", "0.1", "--set", "epochs=1", "--device", "cpu"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "accuracy unknown, as the data has no labels for imagenet12 test" in done.output
