"""Trials on a cluster of two nodes, which are processes of this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decathlon.commands.options import check_launcher
from decathlon.common.errors import UsageError
from decathlon.method.code import code_of, identity
from decathlon.results.selection import Selection
from decathlon.running.config import Checkpointing, RunConfig
from decathlon.running.display import PlainLines
from decathlon.running.launchers.ray import Cluster, _run_remotely, execute_on
from decathlon.running.resolve import resolve
from decathlon.running.survey import survey
from decathlon.running.trial_folder import TrialFolder
from decathlon.training.device import Compute
from tests import faulty
from tests.training.distributed.test_parallel import processes_of

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


FAULTS = {"dtd": "dies", "svhn": "terminates"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with a method that goes wrong."""
    root = Path(__file__).resolve().parents[2]
    stranger = faulty.install(tmp_path_factory.mktemp("faulty"))
    found = [str(root), str(stranger), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.pathsep.join(found)


@pytest.fixture(scope="module")
def nodes(path: str) -> Iterator[Nodes]:
    """One cluster for all tests; the last one kills a node of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("FAULTS", json.dumps(FAULTS))
        for name, value in {**THREADS, "RAY_health_check_period_ms": "500"}.items():
            patch.setenv(name, value)
        made = Nodes()
        yield made
        made.stop()


def command(
    tiny: Path, source: Path, results: Path, *more: str, method: str = "fine-tuning"
) -> list[str]:
    domains = [text for domain in DOMAINS for text in ("--domain", domain)]
    settings = ["--set", "epochs=12", "--set", "batch_size=16"]
    folders = ["--source", str(source), "--data", str(tiny), "--results", str(results)]
    same = ["--threads", "1", "--precision", "32"]
    run = [sys.executable, "-m", "decathlon", "run", "--method", method]
    return [*run, *folders, *domains, *settings, *same, "--checkpoint", "0", *more]


def training(results: Path) -> int:
    """Counts the trials that have done an epoch but have no record yet."""
    return sum(
        log.stat().st_size > 0 and not log.with_name("record.json").exists()
        for log in results.glob("fine-tuning/*/test/seed0/log.jsonl")
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
        del record["environment"], record["timing"], record["cost"]
        found[domain] = [
            record,
            (folder / "weights.safetensors").read_bytes(),
            (folder / "predictions.json").read_bytes(),
            [json.loads(line)["loss"] for line in (folder / "log.jsonl").open()],
        ]
        assert not (folder / "checkpoints").exists()
    return found


@pytest.mark.slow
def test_an_interrupted_run_is_continued(
    tiny: Path, tiny_source: Path, tmp_path: Path, nodes: Nodes
) -> None:
    far = tmp_path / "far"
    order = command(tiny, tiny_source, far, "--launcher", "ray", "--address", nodes.address)
    order += ["--checkpoint", "3600"]
    with subprocess.Popen(order, stderr=subprocess.PIPE, text=True) as process:
        wait(process, far)
        assert not list(far.rglob("step*"))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert said.endswith("decathlon: interrupted; run the same command to go on\n")
    assert said.count("has a checkpoint of step") == len(list(far.rglob("step*"))) == 2
    assert not list(far.rglob("failed.json"))
    done = subprocess.run(order, capture_output=True, text=True, check=True)
    assert "2 to resume" in done.stderr
    assert len(list(far.rglob("record.json"))) == len(DOMAINS)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_process_that_always_dies_stops_no_other(
    tiny: Path, tiny_source: Path, tmp_path: Path, nodes: Nodes, path: str
) -> None:
    order = command(
        *(tiny, tiny_source, tmp_path, "--launcher", "ray", "--address", nodes.address),
        method=faulty.NAME,
    )
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(order, capture_output=True, text=True, env=env)
    assert done.returncode == 1
    reason = "its process was killed or crashed, 4 times in a row; look for the cause"
    assert done.stderr.count(f"faulty, dtd, test, seed 0: {reason}") == 1  # the list at the end
    assert done.stderr.count(f"faulty, dtd, test, seed 0: FAILED: {reason}") == 1
    assert "1 of 4 trials failed" in done.stderr
    assert "raylet" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) < 20
    home = tmp_path / "faulty"
    assert {path.parts[-4] for path in home.rglob("record.json")} == {*DOMAINS} - {"dtd"}
    failed = json.loads((home / "dtd" / "test" / "seed0" / "failed.json").read_bytes())
    assert failed["reason"].startswith(reason)
    # The process that was sent SIGTERM wrote a checkpoint, and another one went on.
    assert not (home / "svhn" / "test" / "seed0" / "failed.json").exists()
    assert done.stderr.count("faulty, svhn, test, seed 0: started") == 2


@pytest.mark.slow
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


def test_configurations_survive_their_way_as_text(tmp_path: Path) -> None:
    config = RunConfig(
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
        checkpointing=Checkpointing(1.0, 3),
    )
    found = RunConfig.from_json(json.loads(json.dumps(config.as_json())))
    here = Path.cwd()
    assert found.results == here / "results"
    assert found.sources == (f"{here}/a.safetensors", f"lwf={here}/b.safetensors")
    assert found.methods == config.methods
    assert found.compute == config.compute
    assert found.checkpointing == config.checkpointing
    assert found.seeds == config.seeds


def test_the_configuration_of_a_run_is_all_that_a_machine_needs(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    chosen = Selection(space={"lr": [0.1]}, sampler="grid", trials=1, rule="", chosen={"lr": 0.1})
    config = RunConfig(
        ("scratch", "fine-tuning"),
        tiny,
        tmp_path,
        (f"fine-tuning={tiny_source}",),
        selection=chosen,
    )
    for run in resolve(config):
        (found,) = resolve(RunConfig.from_json(json.loads(json.dumps(run.config.as_json()))))
        identities = [
            [TrialFolder(one, trial).identity() for trial in one.trials()] for one in (run, found)
        ]
        assert identities[0] == identities[1]
        assert next(iter(identities[0][0].values()))["selection"] == chosen.model_dump()


def config_of(data: Path, source: Path, results: Path) -> RunConfig:
    """A configuration of one trial."""
    return RunConfig(
        ("fine-tuning",),
        data,
        results,
        (str(source),),
        ("dtd",),
        settings=("epochs=1",),
        compute=Compute("cpu", "32", 1),
    )


def test_there_has_to_be_a_cluster_at_the_address(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    config = config_of(tiny, tiny_source, tmp_path)
    with pytest.raises(UsageError, match="no Ray cluster answers there"):
        execute_on(Cluster("127.0.0.1:9"), survey(resolve(config)), PlainLines())


def test_a_machine_with_other_code_or_source_takes_no_trial(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    config = config_of(tiny, tiny_source, tmp_path)
    (item,) = survey(resolve(config))
    for key, value in (("code", identity(code_of("scratch"))), ("source", "0" * 64)):
        asked = item.folder.identity()
        asked["dtd"][key] = value
        text = (json.dumps(config.as_json()), str(item.trial), json.dumps(asked))
        answer = json.loads(_run_remotely(*text, 0.0))
        assert (answer["state"], answer["code"]) == ("failed", 2)
        assert f"is not the same here as where the command was given (dtd.{key}" in answer["reason"]
    assert not list(tmp_path.iterdir())


def test_options_of_another_launcher_are_refused() -> None:
    with pytest.raises(UsageError, match="is local or ray"):
        check_launcher("slurm", None, None)
    with pytest.raises(UsageError, match="--address and --gpus are of --launcher ray"):
        check_launcher("local", "auto", None)
    check_launcher("ray", None, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["gcs_server", "raylet"])
def test_a_cluster_that_is_lost_is_told_in_one_sentence(
    tiny: Path, tiny_source: Path, tmp_path: Path, lost: str
) -> None:
    order = [*command(tiny, tiny_source, tmp_path, "--launcher", "ray"), "--set", "epochs=9999"]
    with subprocess.Popen(
        order, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait(process, tmp_path)
        for number in processes_of(process.pid):
            if Path(f"/proc/{number}/exe").resolve().name == lost:
                os.kill(number, signal.SIGKILL)
        out, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, said
    assert "0 of 4 trials done, 4 left" in said
    last = [line for line in said.splitlines() if line.strip()][-1]
    assert last.startswith("decathlon: the Ray cluster at ")
    assert last.endswith("run the same command to go on from the last checkpoints")
    assert not out
    assert not list(tmp_path.rglob("failed.json"))
