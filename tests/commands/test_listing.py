"""Tables of what there is: they fit, and hide nothing that is wrong."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from decathlon.commands.listing import domains_table
from decathlon.common.errors import DataError
from decathlon.data.manifest import (
    DomainEntry,
    Manifest,
    ShardEntry,
    SplitEntry,
    write_manifest,
)
from decathlon.data.preparing.prepare import prepare
from decathlon.suites.base import SPLITS
from decathlon.suites.visual_decathlon import DOMAINS
from tests.data.conftest import official
from tests.data.official import Official, write_labels

__all__ = ["official"]

NONE = "0" * 64


def lines(data: Path, width: int = 80) -> dict[str, list[str]]:
    """The cells of each row by domain."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(domains_table(data, width))
    text = console.export_text()
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    return {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}


def listed(name: str) -> DomainEntry:
    """An official domain as it would be listed, with 4 GB in each shard."""
    official = DOMAINS[name]
    splits = {}
    for split, count in zip(SPLITS, official.sizes, strict=True):
        size = 24_000_000_000 * count // 1_232_167
        shard = ShardEntry(file=f"{name}/{split}.h5", num_images=count, size=size, sha256=NONE)
        splits[split] = SplitEntry(
            num_images=count, labelled=split != "test", annotations_sha256=NONE, shards=[shard]
        )
    return DomainEntry(
        official=True,
        class_names=[str(k) for k in range(official.num_classes)],
        category_ids=list(range(official.num_classes)),
        mean=official.mean,
        std=official.std,
        statistics="official",
        resize="",
        sources=[],
        splits=splits,
    )


def test_the_whole_benchmark_fits_eighty_columns(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_manifest(data, Manifest(domains={name: listed(name) for name in DOMAINS}))
    found = lines(data)
    told = " ".join(found["imagenet12"])
    assert told == "imagenet12 1000 1232167 49000 48238* 25894 damaged 1232167/49000/48238"
    sums = [sum(domain.sizes[k] for domain in DOMAINS.values()) for k in range(3)]
    assert found["total"][1:4] == [str(value) for value in sums]


def test_what_is_prepared_is_told(official: Official, tmp_path: Path) -> None:
    data = tmp_path / "data"
    labels = write_labels(tmp_path / "labels.zip", {"dtd": official.labels("dtd")})
    prepare(official.write(), data, labels=labels, jobs=0)
    found = lines(data)
    assert found["dtd"][1:5] == ["3", "9", "4", "5"]
    assert found["svhn"][1:5] == ["3", "9", "4", "5*"]
    assert found["svhn"][6] == "other"
    assert found["gtsrb"][2:7] == ["-"] * 5
    assert found["total"][1:4] == ["27", "12", "15"]
    (data / "svhn" / "val.h5").unlink()
    assert lines(data)["svhn"][6] == "damaged"
    assert "handwritten characters" in " ".join(lines(data, 160)["omniglot"])


def test_only_what_is_absent_is_passed_over(tmp_path: Path) -> None:
    for data in (tmp_path, tmp_path / "none"):
        assert lines(data)["dtd"][2:7] == ["-"] * 5
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json: not JSON"):
        domains_table(tmp_path, 80)
