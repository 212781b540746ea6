"""Weights on disk: what is written, and that it comes back the same."""

import json
import re
import struct
from pathlib import Path

import pytest
import torch

from decathlon import load_model
from decathlon.common.errors import DataError
from decathlon.method.base import Task
from decathlon.method.registry import find
from decathlon.method.stored import count_parameters, keep_source, save_kept, save_trained
from decathlon.models.networks import Architecture
from decathlon.models.weights import (
    Source,
    read_source,
    read_weights,
    write_source,
    write_weights,
)

TASK = Task("dtd", 5, 100)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    torch.manual_seed(0)
    architecture = Architecture(width=0.25)
    path = tmp_path / "source.safetensors"
    write_source(path, architecture.build(11), architecture, {})
    return read_source(path)


def test_source_comes_back_with_its_head(source: Source) -> None:
    assert source.path is not None
    images = torch.randn(2, 3, 64, 64)
    model = load_model(source.path)
    assert not model.training
    assert torch.equal(model(images), source.network().eval()(images))
    assert source.num_classes == 11


def test_equal_weights_are_equal_files(tmp_path: Path, source: Source) -> None:
    for name in ("a", "b"):
        write_source(tmp_path / name, source.network(), source.architecture, {"x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_bits_are_packed_and_unpacked(tmp_path: Path) -> None:
    mask = torch.rand(16, 8, 3, 3) > 0.5
    write_weights(tmp_path / "mask", {"kind": "method"}, {"mask": mask})
    assert torch.equal(read_weights(tmp_path / "mask")[1]["mask"], mask)
    assert (tmp_path / "mask").stat().st_size < mask.numel() / 8 + 400


def test_feature_extractor_stores_its_head_only(tmp_path: Path, source: Source) -> None:
    method = find("feature-extractor")()
    network = method.build(source, [TASK])
    save_trained(tmp_path / "weights.safetensors", method, network, source, [TASK])
    assert set(read_weights(tmp_path / "weights.safetensors")[1]) == {"head.weight", "head.bias"}
    counted = count_parameters(method, network, source)
    assert (counted.domain, counted.shared) == (0, counted.unit)


def test_delta_weights_find_their_source_beside_the_results(tmp_path: Path, source: Source) -> None:
    method = find("spottune")()
    network = method.build(source, [TASK]).eval()
    keep_source(source, tmp_path)
    assert source.path is not None
    source.path.unlink()
    path = tmp_path / "spottune" / "dtd" / "val" / "seed0" / "weights.safetensors"
    save_trained(path, method, network, source, [TASK])
    images = torch.randn(3, 3, 64, 64)
    assert torch.equal(load_model(path)(images), network(images))


def test_a_source_kept_with_results_is_the_one_that_was_read(
    tmp_path: Path, source: Source
) -> None:
    keep_source(source, tmp_path)
    kept = tmp_path / "sources" / f"{source.sha256}.safetensors"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    keep_source(source, tmp_path)
    assert kept.read_bytes() == whole
    kept.unlink()
    assert source.path is not None
    source.path.write_bytes(b"another")
    with pytest.raises(DataError, match="was changed after it had been read"):
        keep_source(source, tmp_path)
    assert not kept.exists()


def test_a_missing_or_foreign_source_is_said(tmp_path: Path, source: Source) -> None:
    method = find("feature-extractor")()
    path = tmp_path / "elsewhere" / "weights.safetensors"
    save_trained(path, method, method.build(source, [TASK]), source, [TASK])
    with pytest.raises(DataError, match="source="):
        load_model(path)
    other = tmp_path / "other.safetensors"
    write_source(other, source.architecture.build(11), source.architecture, {})
    with pytest.raises(DataError, match="is not the source"):
        load_model(path, source=other)


def test_a_damaged_code_in_a_header_is_refused(tmp_path: Path, source: Source) -> None:
    method = find("scratch")()
    path = tmp_path / "weights.safetensors"
    save_trained(path, method, method.build(source, [TASK]), source, [TASK])
    header, tensors = read_weights(path)
    for code in ("x", {"distribution": "d"}, {"distribution": "d", "version": "1", "sha256": "0"}):
        write_weights(path, {**header, "code": code}, tensors)
        with pytest.raises(DataError, match="its header is damaged"):
            load_model(path)


def test_scratch_needs_no_source_file(tmp_path: Path) -> None:
    method = find("scratch")()
    base = Source(Architecture(width=0.25), 1)
    network = method.build(base, [TASK]).eval()
    save_trained(tmp_path / "weights.safetensors", method, network, base, [TASK])
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(load_model(tmp_path / "weights.safetensors")(images), network(images))


@pytest.mark.parametrize("damage", ["missing", "short", "not", "foreign", "huge header"])
def test_damaged_or_foreign_files_are_refused(tmp_path: Path, source: Source, damage: str) -> None:
    path = tmp_path / "bad.safetensors"
    assert source.path is not None
    whole = source.path.read_bytes()
    if damage == "short":
        path.write_bytes(whole[:-100])
    elif damage == "not":
        path.write_bytes(b"PK\x03\x04 something else")
    elif damage == "foreign":
        header = json.dumps({"__metadata__": {"by": "others"}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header)
    elif damage == "huge header":
        path.write_bytes(struct.pack("<Q", 2**60) + whole[8:])
    with pytest.raises(DataError, match=str(path.name)):
        read_source(path)


def test_source_that_is_not_what_it_says_is_refused(tmp_path: Path, source: Source) -> None:
    path = tmp_path / "wrong.safetensors"
    write_source(path, source.network(), Architecture(width=0.5), {})
    with pytest.raises(DataError, match="shape"):
        read_source(path)


HEADERS = [
    ("source", {"architecture": None}),
    ("source", {"architecture": {"name": []}}),
    ("source", {"architecture": {"blocks": [4, 4, 4], "name": "vit"}}),
    ("source", {"architecture": {"blocks": [4, 4, 4], "more": 1}}),
    ("source", {"num_classes": -7}),
    ("method", {"method": None}),
    ("method", {"method": "unknown"}),
    ("method", {"recipe": {"epochs": None}}),
    ("method", {"recipe": {"colour": 1}}),
    ("method", {"recipe": None}),
    ("method", {"tasks": []}),
    ("method", {"tasks": [{"domain": "dtd"}]}),
    ("method", {"tasks": [{"domain": "dtd", "num_classes": -1, "num_images": 3}]}),
    ("method", {"tasks": [{"domain": "dtd", "num_classes": 10**9, "num_images": 3}]}),
    ("method", {"tasks": [{"domain": "dtd", "num_classes": 4, "num_images": 3}]}),
    ("method", {"architecture": {"blocks": [4, 4, 4], "width": -1}}),
    ("method", {"source": 1}),
    ("method", {"source": "../../source"}),
    ("method", {"source_classes": "many"}),
    ("method", {"trunk": -1}),
    ("method", {"code": {"version": "1"}}),
    ("kept", {"source": 1}),
]


@pytest.mark.parametrize(("kind", "change"), HEADERS)
def test_a_header_that_makes_no_sense_is_said_with_its_file(
    tmp_path: Path, source: Source, kind: str, change: dict[str, object]
) -> None:
    assert source.path is not None
    method = find("fine-tuning")()
    path = tmp_path / "trained.safetensors"
    save_trained(path, method, method.build(source, [TASK]), source, [TASK])
    save_kept(tmp_path / "kept.safetensors", source)
    path = {"source": source.path, "method": path, "kept": tmp_path / "kept.safetensors"}[kind]
    header, tensors = read_weights(path)
    missing = {name: value for name, value in header.items() if name not in change}
    for damaged in (header | change, missing):
        write_weights(path, damaged, tensors)
        if "trunk" in change and "trunk" not in damaged:
            continue  # older files say nothing of these two
        if "code" in change and "code" not in damaged:
            continue
        with pytest.raises(DataError, match=re.escape(f"{path}: ")):
            load_model(path)
