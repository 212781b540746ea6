"""Two processes train the network that one process would train, and end as one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import UsageError
from decathlon.common.world import World
from decathlon.data.reading.store import open_store
from decathlon.models.layers import BatchNorm2d, SyncedBatchNorm2d, freeze, synchronise
from decathlon.models.weights import read_source, read_weights
from decathlon.results.records import find_records, read_record
from decathlon.suites.visual_decathlon import AUGMENTED
from decathlon.training import evaluation
from decathlon.training.device import Compute
from decathlon.training.distributed import groups
from decathlon.training.feed import Feed
from tests.training import together
from tests.training.together import COMPUTE, DOMAIN, RECIPE

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
HALVES = (World(0, 2), World(1, 2))


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, *map(str, arguments)]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=300)


def processes_of(parent: int) -> list[int]:
    """The children of a process and theirs."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            child = int(status.parent.name)
            found += [child, *processes_of(child)]
    return found


def kill_in_the_midst(command: list[str], results: Path) -> None:
    """Starts a run and kills all its processes when it has checkpoints of the second epoch."""
    process = subprocess.Popen(command, env=ENV, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(results.glob("**/step*[3-9].safetensors")):
        time.sleep(0.01)
    for number in [process.pid, *processes_of(process.pid)]:
        os.kill(number, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def out(tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote: of one run that was killed, and of together.py."""
    folder = tmp_path_factory.mktemp("together")
    asked = together.arguments(tiny, tiny_source, folder / "broken", "spottune-global-k")
    kill_in_the_midst([*TORCHRUN, "-m", "decathlon", *asked], folder / "broken")
    assert not list(find_records(folder / "broken"))
    (log,) = folder.glob("broken/**/log.jsonl")
    (folder / "before").write_text(log.read_text().splitlines()[0])
    done = torchrun(together.__file__, tiny, tiny_source, folder)
    assert done.returncode == 0, done.stderr
    return folder


def written(out: Path, name: str) -> list[Any]:
    return [json.loads((out / f"{name}.{rank}.json").read_text()) for rank in range(2)]


def tensors(out: Path, name: str) -> list[dict[str, Tensor]]:
    return [load_file(out / f"{name}.{rank}.safetensors") for rank in range(2)]


def trained_by_shards(data: Path, source: Path) -> tuple[nn.Module, list[float]]:
    """One process that normalises each half of a batch by itself, as two processes do."""
    _, first = together.fine_tuning(source)
    _, second = together.fine_tuning(source)
    view = AUGMENTED.train
    feed = Feed(open_store(data), DOMAIN, ("train", "val"), view, 16, 0, torch.device("cpu"))
    twins = [first.train(), second.train()]
    steps = [
        torch.optim.SGD(twin.parameters(), RECIPE.lr, RECIPE.momentum, weight_decay=1e-4)
        for twin in twins
    ]
    losses = []
    batches = feed.training(0, lambda step: 0.0)
    for _ in range(RECIPE.epochs):
        losses.append(0.0)
        for _ in range(feed.steps_per_epoch):
            whole = next(batches)
            for twin, place in zip(twins, HALVES, strict=True):
                part = together.cut(whole, place.part(len(whole.labels)))
                assert part.share != 0.5
                loss = cross_entropy(twin(part.images), part.labels) * part.share
                loss.backward()
                losses[-1] += loss.item() / feed.steps_per_epoch
            for pair in zip(*(twin.parameters() for twin in twins), strict=True):
                total = pair[0].grad + pair[1].grad
                for parameter in pair:
                    parameter.grad = total.clone()
            for step in steps:
                step.step()
                step.zero_grad()
    for mine, other in zip(first.buffers(), second.buffers(), strict=True):
        assert mine.dtype == torch.int64 or not torch.equal(mine, other)
        mine.copy_((mine + other) / 2)
    return first, losses


def test_two_processes_are_one_that_normalises_halves(
    tiny: Path, tiny_source: Path, out: Path
) -> None:
    reference, losses = trained_by_shards(tiny, tiny_source)
    wanted = reference.state_dict()
    first, second = tensors(out, "trained")
    assert all(torch.equal(first[name], second[name]) for name in wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(first[name], tensor, atol=1e-5, rtol=1e-4, msg=name)
    assert written(out, "losses") == [pytest.approx(losses, rel=1e-5)] * 2
    images = torch.randn(4, 3, 64, 64)
    logits = reference.eval()(images)
    reference.load_state_dict(first)
    torch.testing.assert_close(reference(images), logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fractions", ["straight-through", "soft"])
def test_fractions_of_the_whole_batch_are_differentiated(
    tiny_source: Path, out: Path, fractions: str
) -> None:
    method, network = together.global_k(tiny_source, fractions)
    loss = method.loss(network, together.whole_batch())
    loss.backward()
    wanted = {"loss": loss.detach(), "gradient": together.policy_gradient(network)}
    for found in tensors(out, fractions):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_what_no_process_used_has_no_gradient(out: Path) -> None:
    both, one, none = [[3.0] * 3] * 2, [[1.0] * 3] * 2, None
    assert written(out, "gradients") == [[24.0, [both, one, none]]] * 2


def test_every_image_is_evaluated_once(
    tiny: Path, tiny_source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, network, feed = together.evaluator(tiny, tiny_source)
    ids = feed.images.image_ids.tolist()
    assert len(ids) == 21
    found = written(out, "evaluated")
    for size in (4, 256):
        monkeypatch.setattr(evaluation, "BATCH_SIZE", size)
        alone = evaluation.evaluate(method, network, feed, COMPUTE.fabric())
        assert alone.routing is not None
        parts = [each[str(size)] for each in found]
        assert sorted(parts[0][0] + parts[1][0]) == sorted(ids)
        assert bool(parts[1][0]) == (size == 4)
        for _, predicted, routing in parts:
            assert predicted == alone.predicted.tolist()
            assert routing == alone.routing.tolist()


def test_what_fails_in_one_process_fails_in_both_and_the_next_trial_goes_on(out: Path) -> None:
    first, second = written(out, "failed")
    failed = [f"failing, {domain}, test, seed 0" for domain in ("dtd", DOMAIN)]
    assert first[0] == failed
    said, finished, folder = first[1]
    assert said == f"{failed[0]}: process 1: ValueError: the second process has no luck"
    assert finished == "failing, svhn, test, seed 0: [2]"
    assert "log.jsonl: it is a folder (Is a directory)" in folder
    assert second == [[], []]  # the first process alone tells


def test_too_many_processes_for_a_batch_are_said(out: Path) -> None:
    (codes, said), _ = written(out, "refused")
    assert codes == [2]
    assert "imagenet12: a batch of 1 images cannot be divided among 2 processes" in said[0]
    assert not list(out.glob("results/onsource/imagenet12/**/record.json"))
    assert list(out.glob("results/onsource/dtd/**/record.json"))


def outcome(results: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """The record, and the bytes of weights and predictions."""
    (path,) = find_records(results)
    assert not (path.parent / "checkpoints").exists()
    kept = (path.parent / "weights.safetensors", path.parent / "predictions.json")
    weights, predictions = (file.read_bytes() for file in kept)
    return read_record(path).model_dump(exclude={"timing", "cost"}), weights, predictions


def test_with_frozen_statistics_two_processes_are_one(
    tiny: Path, tiny_source: Path, out: Path, tmp_path: Path
) -> None:
    asked = together.arguments(tiny, tiny_source, tmp_path, "feature-extractor")
    assert CliRunner().invoke(app, asked).exit_code == 0
    one, two = outcome(tmp_path), outcome(out / "frozen")
    assert one[2] == two[2]
    worlds = [found[0].pop("environment")["world_size"] for found in (one, two)]
    assert worlds == [1, 2]
    assert one[0].pop("threads")
    assert two[0].pop("threads")
    assert one[0] == two[0]
    paths = [next(find_records(folder)) for folder in (tmp_path, out / "frozen")]
    first, second = (read_weights(path.parent / "weights.safetensors")[1] for path in paths)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-3)


def test_two_processes_pretrain_one_source(out: Path) -> None:
    source = read_source(out / "source.safetensors")
    assert source.num_classes == 21
    assert source.header is not None
    assert source.header["world_size"] == 2
    assert not list(out.glob("source.safetensors.*"))


def test_a_killed_run_ends_as_an_uninterrupted_one(out: Path) -> None:
    assert outcome(out / "broken") == outcome(out / "whole")
    (log,) = out.glob("broken/**/log.jsonl")
    lines = log.read_text().splitlines()
    assert lines[0] == (out / "before").read_text()  # it went on, and did not begin anew
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 11))


def test_a_signal_stops_all_processes_at_the_same_step(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    """The second process alone gets it; torchrun ends the first only when that has written."""
    asked = together.arguments(tiny, tiny_source, tmp_path, "fine-tuning")
    asked += ["--set", "epochs=9999", "--checkpoint", "3600"]
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "decathlon", *asked], env=ENV, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "fine-tuning" / "dtd" / "test" / "seed0" / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.01)
    found = processes_of(process.pid)
    assert found, process.communicate()[1]
    os.kill(max(found), signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    (checkpoint,) = log.parent.glob("checkpoints/*")
    step = int(checkpoint.stem.removeprefix("step"))
    assert f"has a checkpoint of step {step}\ndecathlon: interrupted;" in said
    assert said.count("interrupted; run the same command to go on") == 1
    assert "exitcode  : 130" in said
    assert not (log.parent / "failed.json").exists()


def test_a_wrong_call_is_said_once() -> None:
    done = torchrun("-m", "decathlon", "methods")
    assert done.returncode == 1  # torchrun's own
    assert done.stderr.count("'methods' is work for one process") == 1
    assert re.search(r"rank +: 0 .*\n +exitcode +: 2 ", done.stderr), done.stderr


def test_who_waits_long_for_the_others_says_why(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "ANSWER_SECONDS", 0.0)
    with groups._speaking_up(ValueError("no luck")):
        time.sleep(0.5)
    assert "process 0: ValueError: no luck; waiting" in capfd.readouterr().err


def test_synchronised_statistics_need_gpus() -> None:
    with pytest.raises(UsageError, match="--sync-bn needs GPUs"):
        Compute("cpu", "32", sync_bn=True).fabric()


def test_frozen_layers_are_not_synchronised() -> None:
    network = nn.Sequential(BatchNorm2d(3), freeze(nn.Sequential(BatchNorm2d(3))))
    images = torch.randn(4, 3, 5, 5)
    plain = network.train()(images)
    weight = network.get_parameter("0.weight")
    names = list(network.state_dict())
    synchronise(network, None)
    assert isinstance(network[0], SyncedBatchNorm2d)
    assert SyncedBatchNorm2d.forward is nn.SyncBatchNorm.forward
    assert network.get_parameter("0.weight") is weight
    assert [type(layer) for layer in network[1]] == [BatchNorm2d]
    assert list(network.state_dict()) == names
    # Of one process it is the plain one, and it can be frozen.
    torch.testing.assert_close(network.train()(images), plain)
    assert not freeze(network).train()[0].training
