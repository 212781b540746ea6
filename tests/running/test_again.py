"""The command that makes a trial again, from its record alone."""

from pathlib import Path
from typing import Any

import pytest

from decathlon.method.recipe import apply, parse_settings
from decathlon.method.registry import find
from decathlon.models.networks import Architecture
from decathlon.running.again import command_of
from tests.scoring.making import bits_with, make_record

SOURCE = "5" * 64


def command(method: str, *settings: str, **fields: Any) -> tuple[str, str]:
    kind = find(method)
    recipe = apply(kind.recipes, parse_settings(settings), method).as_json()
    if "domains" in fields:
        recipe["domains"] = fields.pop("domains")
    network = Architecture(width=fields.pop("width", 1.0)).as_json()
    fields = {"source": SOURCE if kind.needs_source else None, "network": network, **fields}
    record = make_record(method, "dtd", bits_with(1, 3), recipe=recipe, **fields)
    return command_of(record, Path("results").absolute(), Path("data"))


START = "--data data --results results-again"
FROM = f"{START} --source results/sources/{SOURCE}.safetensors"


@pytest.mark.parametrize(
    ("method", "settings", "fields", "wanted"),
    [
        ("fine-tuning", (), {}, f"{FROM} --domain dtd --threads 1"),
        ("fine-tuning", ("steps=50",), {}, f"{FROM} --domain dtd --set steps=50 --threads 1"),
        (
            "fine-tuning",
            ("protocol=released", "weight_decay=0.5", "nesterov=true"),
            {"seed": 3, "crop": "box", "subset": "12.5pct"},
            (
                f"{FROM} --domain dtd --seed 3 --fraction 0.125 --crop box --set protocol=released"
                " --set nesterov=true --set weight_decay.default=0.5 --threads 1"
            ),
        ),
        ("scratch", (), {"width": 0.5}, f"{START} --domain dtd --set width=0.5 --threads 1"),
        (
            "series-adapters-finetune-all",
            (),
            {"domains": ["cifar100", "dtd"], "split": "val"},
            f"{FROM} --domain cifar100 --domain dtd --split val --threads 1",
        ),
    ],
)
def test_a_command_names_what_differs(
    method: str, settings: tuple[str, ...], fields: dict[str, Any], wanted: str
) -> None:
    assert command(method, *settings, **fields) == (
        f"decathlon run --method {method} {wanted}", ""
    )  # fmt: skip


def test_a_command_says_processes_precision_and_code() -> None:
    environment = {"world_size": 2, "precision": "bf16-mixed", "sync_bn": True, "compiled": True}
    code = {"distribution": "decathlon", "version": "0.0.1", "sha256": "0" * 64}
    text, note = command("fine-tuning", environment=environment, code=code)
    assert text.startswith("torchrun --nproc-per-node=2 -m decathlon run --method fine-tuning ")
    assert text.endswith("--precision bf16 --threads 1 --sync-bn --compile")
    assert "is no longer the trial's (decathlon 0.0.1" in note
    text, _ = command("fine-tuning", environment={"world_size": "2; id"}, seed=1)
    assert text.startswith("decathlon run --method fine-tuning --data ")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"method": "gone"}, "unknown method 'gone'"),
        ({"recipe": {"colour": "red"}}, "has no setting 'colour'"),
        ({"recipe": {"epochs": 1}}, "has other settings in this version"),
    ],
)
def test_without_a_command_the_note_says_why(fields: dict[str, Any], said: str) -> None:
    record = make_record("fine-tuning", "dtd", None, **fields)
    text, note = command_of(record, Path("results").absolute(), None)
    assert (text, said in note) == ("", True), note


def test_a_network_that_no_record_names_has_no_command() -> None:
    text, note = command("scratch", network={"name": "timm:resnet18", "width": 1.0})
    assert (text, "that of a weights file" in note) == ("", True), note
