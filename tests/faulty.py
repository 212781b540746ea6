"""A stranger's method whose trials go wrong, each in the way that its domain's name is given."""

from pathlib import Path

NAME = "faulty"
MODULE = '''
"""FAULTS is {domain: fault}: what happens at the third step of its training."""

import json
import os
import signal
import time
import weakref
from pathlib import Path

import torch

from decathlon.method import Method

FAULTS = json.loads(os.environ.get("FAULTS", "{}"))
DATA = Path(os.environ.get("FAULTY_DATA", "."))
NETWORKS = {}


class Faulty(Method):
    """Fine-tuning that goes wrong."""

    paper = "nobody"
    year = 2026
    trains = "all, until it fails"

    def build(self, source, tasks):
        network = source.network(tasks[0].num_classes)
        NETWORKS[tasks[0].domain] = weakref.ref(network)
        network.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        return network

    def loss(self, network, batch):
        loss = super().loss(network, batch)
        network.steps += 1
        fault = FAULTS.get(batch.domain)
        if fault is None or network.steps != 3:
            return loss
        return globals()[fault](loss, batch.domain)


def nan(loss, domain):
    return loss * torch.nan


def memory(loss, domain):
    return loss * torch.ones(1 << 28).mean()  # 1 GB


def removed(loss, domain):
    for path in (DATA / domain).glob("*.h5"):
        path.unlink()
    return loss


def cut(loss, domain):
    for path in (DATA / domain).glob("*.h5"):
        os.truncate(path, 0)
    return loss


def sleeps(loss, domain):
    time.sleep(600)
    return loss


def dies(loss, domain):
    os.kill(os.getpid(), signal.SIGKILL)


def terminates(loss, domain):
    os.kill(os.getpid(), signal.SIGTERM)
    return loss


def bug(loss, domain):
    return {}["of a stranger"]
'''


def install(folder: Path) -> Path:
    """Writes the method into a folder as an installed package; returns what goes on the path."""
    (folder / "faulty_method.py").write_text(MODULE)
    facts = folder / "faulty-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    text = f"[decathlon.methods]\n{NAME} = faulty_method:Faulty\n"
    (facts / "entry_points.txt").write_text(text)
    return folder
