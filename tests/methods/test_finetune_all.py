"""Joint training: what is tied, what is stored once, and what each domain keeps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from decathlon_methods.series_adapters_finetune_all import FinetuneAll, JointNetwork

from decathlon import load_model
from decathlon.common.errors import DataError
from decathlon.data.reading.store import open_store
from decathlon.method.base import Task
from decathlon.method.recipe import apply
from decathlon.models.adapters import adapted_convolutions
from decathlon.models.weights import Source, read_weights
from decathlon.results.records import RunRecord, find_records, read_record
from decathlon.running.config import RunConfig
from decathlon.running.display import PlainLines
from decathlon.running.execution import execute
from decathlon.running.resolve import resolve
from decathlon.running.survey import survey
from decathlon.testing import OneBatch
from decathlon.training.device import Compute
from decathlon.training.feed import interleaved
from decathlon.training.loop import schedule_of, train

TASKS = [
    Task("dtd", 4, 100),
    Task("vgg-flowers", 3, 100),
    Task("imagenet12", 6, 100, is_source=True),
]


def joint(**settings: object) -> FinetuneAll:
    return FinetuneAll(apply(FinetuneAll.recipes, settings, "series-adapters-finetune-all"))


def test_shared_convolutions_are_one_tensor_and_all_else_is_not(source: Source) -> None:
    network = joint().build(source, TASKS)
    assert isinstance(network, JointNetwork)
    first, second, third = (dict(n.named_parameters()) for n in network.networks.values())
    trunk = {name for name in first if first[name] is second[name]}
    assert trunk == {f"{n}.weight" for n, _ in adapted_convolutions(network.networks["dtd"])}
    assert trunk == {name for name in first if first[name] is third[name]}
    assert len(trunk) == 25


def test_the_source_domain_starts_as_the_source(source: Source, adapted_source: Source) -> None:
    for given in (source, adapted_source):
        network = joint().build(given, TASKS)
        assert isinstance(network, JointNetwork)
        start = given.network().state_dict()
        own = network.networks["imagenet12"].state_dict()
        assert all(torch.equal(own[name], tensor) for name, tensor in start.items())
        other = network.networks["vgg-flowers"].state_dict()
        assert other["head.weight"].shape == (3, 64)
        name = "stem.conv.adapter.conv.weight"
        assert not torch.equal(own[name], other[name])  # newly drawn


def test_convolutions_join_in_the_second_phase(source: Source) -> None:
    start = source.network().state_dict()["stem.conv.weight"]
    for until, moved in ((1.0, False), (0.5, True)):
        method = joint(epochs=1, adapters_until=until)
        network = method.build(source, TASKS)
        fabric = Compute("cpu", "32").fabric()
        streams = [OneBatch(task, 2) for task in TASKS]
        final = train(method, network, streams, fabric, 0, lambda facts: None)
        for task in TASKS:
            part = method.part(final, task.domain)
            assert torch.equal(part.get_parameter("stem.conv.weight"), start) != moved
            assert not torch.equal(
                part.get_parameter("stem.bn.weight"), source.network().stem.bn.weight
            )


def test_each_domain_decays_by_its_size(source: Source) -> None:
    method = joint()
    network = method.build(source, TASKS)
    assert isinstance(network, JointNetwork)
    first, second = method.phases(network, TASKS)
    decay = {id(p): g.weight_decay for g in second.groups for p in g.parameters}
    assert decay[id(network.networks["dtd"].get_parameter("stem.bn.weight"))] == 2e-3
    assert decay[id(network.networks["imagenet12"].get_parameter("stem.bn.weight"))] == 1e-4
    shared = network.networks["dtd"].get_parameter("stem.conv.weight")
    assert decay[id(shared)] == 1e-4
    assert not any(p is shared for g in first.groups for p in g.parameters)


def test_epochs_have_fixed_steps_and_domains_are_sampled_evenly() -> None:
    streams = [OneBatch(TASKS[0], 1000), OneBatch(TASKS[1], 3), OneBatch(TASKS[2], 40)]
    steps = [stream.steps_per_epoch for stream in streams]
    assert schedule_of(joint(steps_per_epoch=300).recipe, steps).steps_per_epoch == 300
    assert schedule_of(joint(steps_per_epoch=9999).recipe, steps).steps_per_epoch == 1043
    seen = [batch.domain for batch in interleaved(streams, 0, 300, seed=0)]
    assert {seen.count(task.domain) for task in TASKS} == {100}


@pytest.fixture(scope="module")
def records(
    tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, RunRecord]]:
    results = tmp_path_factory.mktemp("results")
    config = RunConfig(
        ("series-adapters-finetune-all",),
        tiny,
        results,
        (str(tiny_source),),
        ("dtd", "vgg-flowers", "imagenet12"),
        settings=("epochs=1", "steps_per_epoch=6", "batch_size=16"),
        compute=Compute("cpu", "32"),
    )
    assert execute(survey(resolve(config)), PlainLines()) == []
    found = [read_record(path) for path in find_records(results)]
    return results, {record.domain: record for record in found}


def test_each_domain_has_a_record_that_names_the_set(
    records: tuple[Path, dict[str, RunRecord]],
) -> None:
    _, found = records
    assert set(found) == {"dtd", "vgg-flowers", "imagenet12"}
    for record in found.values():
        assert set(record.recipe["domains"]) == set(found)
        assert record.source_domain == "joint"
        assert record.trained


def test_the_trunk_is_stored_once(records: tuple[Path, dict[str, RunRecord]]) -> None:
    results, found = records
    headers = [
        read_weights(results / record.folder / "weights.safetensors")[0]
        for record in found.values()
    ]
    (digest,) = {header["trunk"] for header in headers}
    assert (results / "sources" / f"{digest}.safetensors").is_file()
    own = read_weights(results / found["dtd"].folder / "weights.safetensors")[1]
    trunk = read_weights(results / "sources" / f"{digest}.safetensors")[1]
    assert not own.keys() & trunk.keys()
    assert len(trunk) == 25


def test_each_domain_is_loaded_for_itself(
    records: tuple[Path, dict[str, RunRecord]], tiny: Path
) -> None:
    results, found = records
    store = open_store(tiny)
    for domain, record in found.items():
        model = load_model(results / record.folder / "weights.safetensors")
        images = torch.from_numpy(
            np.stack([store.images(domain, ["test"]).pixels(0)[:64, :64].copy()])
        )
        assert model(images.permute(0, 3, 1, 2).float()).shape == (1, record.num_classes)


def test_loading_says_what_is_missing(
    records: tuple[Path, dict[str, RunRecord]], tmp_path: Path
) -> None:
    results, found = records
    alone = tmp_path / "weights.safetensors"
    alone.write_bytes((results / found["dtd"].folder / alone.name).read_bytes())
    with pytest.raises(DataError, match="sources"):
        load_model(alone)
