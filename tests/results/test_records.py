"""Records: what is valid, and what survives writing and reading."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decathlon.common.errors import ResultError
from decathlon.results.parameters import params_ratio
from decathlon.results.records import (
    Parameters,
    find_records,
    pack_bits,
    read_record,
    split_of,
    write_record,
)
from decathlon.suites.base import Suite
from decathlon.suites.visual_decathlon import SUITE
from tests.scoring.making import FINE_GRAINED, make_record, unpacked


@given(st.lists(st.booleans()))
def test_bits_survive_packing(bits: list[bool]) -> None:
    text = pack_bits(bits)
    assert len(text) == 2 * -(-len(bits) // 8)
    assert unpacked(text, len(bits)) == bits


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record("mine", "dtd", [True, False, True], recipe={"lr": 0.1, "x": [1, None]})
    path = write_record(tmp_path, record)
    assert path == tmp_path / "mine" / "dtd" / "test" / "seed0" / "record.json"
    assert read_record(path) == record
    assert record.accuracy == pytest.approx(200 / 3)
    assert make_record("mine", "dtd", None).accuracy is None


def test_a_record_of_format_1_is_upgraded(tmp_path: Path) -> None:
    record = make_record("mine", "dtd", [True, False])
    path = write_record(tmp_path, record)
    value = json.loads(path.read_text())
    for key in ("network", "code", "predictions"):
        del value[key]
    path.write_text(json.dumps(value | {"format": 1}))
    assert read_record(path) == record
    path.write_text(json.dumps(value))  # of format 2, which has them
    with pytest.raises(ResultError, match="code"):
        read_record(path)


def test_subsets_have_folders_of_their_own_and_old_records_none(tmp_path: Path) -> None:
    record = make_record("mine", "dtd", [True], subset="10shot.d1", crop="box", seed=3)
    path = write_record(tmp_path, record)
    assert path == tmp_path / "mine" / "dtd" / "test+10shot.d1" / "seed3" / "record.json"
    assert list(find_records(tmp_path)) == [path]
    assert (split_of(path), read_record(path)) == ("test", record)
    value = json.loads(path.read_text())
    del value["subset"], value["crop"], value["num_trained"]
    path.write_text(json.dumps(value))
    old = read_record(path)
    assert (old.subset, old.crop, old.num_trained) == ("", "image", None)


def test_records_are_found_in_order_and_reserved_folders_are_not(tmp_path: Path) -> None:
    for name in ("b", "a", "published", "sources"):
        write_record(tmp_path, make_record(name, "dtd", [True]))
    assert [path.parts[-5] for path in find_records(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"correct": 3}, "exceeds total"),
        ({"correct": 2}, "does not hold 2 ones"),
        ({"correctness": "8000"}, "does not hold 2 bits"),
        ({"correctness": "20"}, "ones beyond its 2 images"),
        ({"correctness": None}, "all known or all null"),
        ({"total": 0}, "total"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.0}, "seed"),
        ({"official": "yes"}, "official"),
        ({"split": "dev"}, "split"),
        ({"unheard": 1}, "unheard"),
        ({"parameters": {"source": 1}}, "parameters.shared"),
        ({"subset": "5shots"}, "subset.*names no subset"),
        ({"crop": "boxes"}, "crop"),
        ({"format": 3}, "format: is 3"),
        ({"predictions": "0"}, "predictions"),
        ({"code": {"distribution": "mine"}}, "code.version"),
        ({"timing": {"train_seconds": float("nan")}}, "NaN is no number"),
    ],
)
def test_what_is_not_valid_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = write_record(tmp_path, make_record("mine", "dtd", [True, False]))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ResultError, match=rf"(?s)record\.json.*{said}"):
        read_record(path)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    path = write_record(tmp_path, make_record("mine", "dtd", [True]))
    wrong = {"seed": "0", "threads": 0, "data": []}
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(ResultError) as caught:
        read_record(path)
    assert all(f"  {field}: " in str(caught.value) for field in wrong)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "\x00", '{"format": 1', "9" * 5000])
def test_what_is_no_json_is_one_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ResultError, match=r"record\.json: not"):
        read_record(path)


UNIT = 5_814_688 * 32
"""Bits of one ResNet-26 without a head."""


def ratio_of(suite: Suite, domain: int, shared: int, source_domain: str) -> float:
    """#par of a method from the record of one target, given the bits it stores there."""
    bits = Parameters(source=UNIT, shared=shared, domain=domain, head=1, unit=UNIT)
    name = suite.targets()[-1]
    record = make_record("mine", name, [True], parameters=bits, source_domain=source_domain)
    found = params_ratio([record], suite)
    assert found is not None
    return found[0]


def test_params_ratio_of_table_3s_kinds_of_methods() -> None:
    def of(domain: int, source_domain: str = "keep", shared: int = UNIT) -> float:
        return ratio_of(SUITE, domain, shared, source_domain)

    assert of(UNIT) == pytest.approx(10)
    assert of(0) == pytest.approx(1)
    assert of(7_744 * 32) == pytest.approx(1.012, abs=5e-4)
    assert of((645_216 + 7_744) * 32) == pytest.approx(2.01, abs=5e-3)
    assert of(5_806_944) == pytest.approx(1.28, abs=5e-3)
    assert of(UNIT, "train", shared=0) == pytest.approx(10)
    assert params_ratio([make_record("mine", "imagenet12", [True])], SUITE) is None


@pytest.mark.parametrize(
    ("domain", "shared", "expected"),
    [
        (UNIT, 0, 5.0),  # fine-tuning
        (0, UNIT, 1.0),  # feature-extractor
        (UNIT // 4, 3 * UNIT // 4, 2.0),  # the last quarter is tuned
        (UNIT, UNIT, 6.0),  # SpotTune without its policy
    ],
)
def test_params_ratio_without_a_source_domain_counts_what_is_needed(
    domain: int, shared: int, expected: float
) -> None:
    assert ratio_of(FINE_GRAINED, domain, shared, "keep") == expected
    assert ratio_of(FINE_GRAINED, domain, shared, "train") == expected
