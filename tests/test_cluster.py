"""Trials on a cluster of two nodes, which are processes of this machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decathlon.cluster import Cluster, _work, execute_on
from decathlon.code import code_of, identity
from decathlon.commands.options import check_launcher
from decathlon.errors import UsageError
from decathlon.request import Order
from decathlon.survey import survey
from decathlon.training.device import Compute
from decathlon.watch import PlainWatch

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'decathlon[cluster]'")
# Ray leaves files and processes of its own open.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")

DOMAINS = ("aircraft", "dtd", "svhn", "ucf101")
SECONDS = 240.0
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Nodes:
    """A cluster of two nodes with a core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as Machines

        self.machines = Machines()
        self.nodes = [self.machines.add_node(num_cpus=1, include_dashboard=False) for _ in "12"]
        self.address: str = self.machines.address

    def kill_second(self) -> None:
        """Kills a node at once, with all that runs on it."""
        self.machines.remove_node(self.nodes.pop(), allow_graceful=False)

    def stop(self) -> None:
        self.machines.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """One cluster for all tests; the last one kills a node of it."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        for name, value in {**THREADS, "RAY_health_check_period_ms": "500"}.items():
            patch.setenv(name, value)
        made = Nodes()
        yield made
        made.stop()


def command(tiny: Path, source: Path, results: Path, *more: str) -> list[str]:
    domains = [text for domain in DOMAINS for text in ("--domain", domain)]
    settings = ["--set", "epochs=12", "--set", "batch_size=16"]
    folders = ["--source", str(source), "--data", str(tiny), "--results", str(results)]
    same = ["--threads", "1", "--precision", "32", "--checkpoint", "0"]
    run = [sys.executable, "-m", "decathlon", "run", "--method", "fine-tuning"]
    return [*run, *folders, *domains, *settings, *same, *more]


def training(results: Path) -> int:
    """Counts the trials that have a checkpoint but no record yet."""
    folders = results.glob("fine-tuning/*/test/seed0")
    return sum(
        any(f.glob("checkpoints/*.safetensors")) and not (f / "record.json").exists()
        for f in folders
    )


def wait(process: "subprocess.Popen[str]", results: Path) -> None:
    until = time.monotonic() + SECONDS
    while training(results) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "no two trials at a time"
        time.sleep(0.05)


def outcome(results: Path) -> dict[str, Any]:
    """Returns what has to be the same, whatever the machines did."""
    found: dict[str, Any] = {}
    for domain in DOMAINS:
        folder = results / "fine-tuning" / domain / "test" / "seed0"
        record = json.loads((folder / "record.json").read_bytes())
        del record["environment"], record["timing"]
        found[domain] = [
            record,
            (folder / "weights.safetensors").read_bytes(),
            (folder / "predictions.json").read_bytes(),
            [json.loads(line)["loss"] for line in (folder / "log.jsonl").open()],
        ]
        assert not (folder / "checkpoints").exists()
    return found


def test_an_interrupted_run_is_continued(
    tiny: Path, tiny_source: Path, tmp_path: Path, nodes: Nodes
) -> None:
    far = tmp_path / "far"
    order = command(tiny, tiny_source, far, "--launcher", "ray", "--address", nodes.address)
    with subprocess.Popen(order, stderr=subprocess.PIPE, text=True) as process:
        wait(process, far)
        process.send_signal(2)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "run the same command to go on" in said
    assert training(far) == 2
    done = subprocess.run(order, capture_output=True, text=True, check=True)
    assert "2 begun" in done.stderr
    assert len(list(far.rglob("record.json"))) == len(DOMAINS)


def test_failures_are_told_with_their_reasons(
    tiny: Path, tiny_source: Path, tmp_path: Path, nodes: Nodes
) -> None:
    far = tmp_path / "far"
    order = command(tiny, tiny_source, far, "--launcher", "ray", "--address", nodes.address)
    order += ["--set", "lr=1e30"]
    done = subprocess.run(order, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "4 of 4 trials failed" in done.stderr
    assert "lower the learning rate" in done.stderr
    order += ["--threads", "64"]
    done = subprocess.run(order, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no machine of the cluster has them (there are: 1 cores, 0 GPUs" in done.stderr


def test_a_lost_node_loses_nothing(
    tiny: Path, tiny_source: Path, tmp_path: Path, nodes: Nodes
) -> None:
    local, far = tmp_path / "local", tmp_path / "far"
    subprocess.run(command(tiny, tiny_source, local), check=True, capture_output=True)
    order = command(tiny, tiny_source, far, "--launcher", "ray", "--address", nodes.address)
    with subprocess.Popen(order, stderr=subprocess.PIPE, text=True) as process:
        wait(process, far)
        nodes.kill_second()
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert outcome(far) == outcome(local)
    assert len(list(far.rglob("record.json"))) == len(DOMAINS)
    # The trial of the lost node began twice, the others once.
    starts = [line for line in said.splitlines() if line.endswith("started")]
    assert len(starts) == len(DOMAINS) + 1


def test_orders_survive_their_way_as_text(tmp_path: Path) -> None:
    order = Order(
        methods=("fine-tuning",),
        sources=("a.safetensors", "lwf=b.safetensors"),
        data=tmp_path,
        results=Path("results"),
        domains=("dtd",),
        split="val",
        seeds=(0, 1),
        name=None,
        settings=("epochs=1",),
        compute=Compute("cpu", "32", 1),
        force=False,
        checkpoint_seconds=1.0,
        checkpoint_steps=3,
    )
    found = Order.from_json(json.loads(json.dumps(order.as_json())))
    here = Path.cwd()
    assert found.results == here / "results"
    assert found.sources == (f"{here}/a.safetensors", f"lwf={here}/b.safetensors")
    assert found.methods == order.methods
    assert found.compute == order.compute
    assert found.seeds == order.seeds


def test_there_has_to_be_a_cluster_at_the_address(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    order = Order(
        ("fine-tuning",), (str(tiny_source),), tiny, tmp_path, ("dtd",), "test", (0,), None,
        ("epochs=1",), Compute("cpu", "32", 1), False, 60.0, 0,
    )  # fmt: skip
    with pytest.raises(UsageError, match="no Ray cluster answers there"):
        execute_on(Cluster("127.0.0.1:9"), order, survey(order.runs()), PlainWatch())


def test_a_machine_with_other_code_or_source_takes_no_trial(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    order = Order(
        ("fine-tuning",), (str(tiny_source),), tiny, tmp_path, ("dtd",), "test", (0,), None,
        ("epochs=1",), Compute("cpu", "32", 1), False, 60.0, 0,
    )  # fmt: skip
    (item,) = survey(order.runs())
    for key, value in (("code", identity(code_of("scratch"))), ("source", "0" * 64)):
        asked = item.run.identity(item.trial)
        asked["dtd"][key] = value
        text = (json.dumps(order.as_json()), str(item.trial), json.dumps(asked))
        answer = json.loads(_work(*text, 0.0, None))
        assert (answer["state"], answer["code"]) == ("failed", 2)
        assert f"is not the same here as where the command was given (dtd.{key}" in answer["reason"]
    assert not list(tmp_path.iterdir())


def test_options_of_another_launcher_are_refused() -> None:
    with pytest.raises(UsageError, match="is local or ray"):
        check_launcher("slurm", None, None)
    with pytest.raises(UsageError, match="--address and --gpus are of --launcher ray"):
        check_launcher("local", "auto", None)
    check_launcher("ray", None, 0.5)
