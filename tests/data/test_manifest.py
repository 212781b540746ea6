"""The manifest is what readers trust: whatever in it is changed, or does not fit, is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decathlon.common.errors import DataError
from decathlon.data.manifest import read_manifest
from decathlon.data.preparing import verify as verifying
from decathlon.data.preparing.prepare import prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import open_store
from decathlon.data.shard import open_shard
from tests.data.official import Official

Change = Callable[[dict[str, Any]], object]
OTHER = "0" * 64


def swap(dtd: dict[str, Any]) -> None:
    dtd["splits"]["val"], dtd["splits"]["test"] = dtd["splits"]["test"], dtd["splits"]["val"]


# Changes of an entry that each leave it well-formed.
QUIET: dict[str, Change] = {
    "mean": lambda dtd: dtd["mean"].__setitem__(0, 0.5),
    "std": lambda dtd: dtd["std"].__setitem__(0, 0.5),
    "official": lambda dtd: dtd.update(official=True),
    "resize": lambda dtd: dtd.update(resize="other"),
    "source": lambda dtd: dtd["sources"][1].update(sha256=OTHER),
}
TOLD: dict[str, Change] = {
    "class names": lambda dtd: dtd["class_names"].__setitem__(1, "other"),
    "category ids": lambda dtd: dtd.update(category_ids=[k + 1 for k in dtd["category_ids"]]),
    "labels": lambda dtd: dtd["splits"]["val"].update(labelled=False),
    "annotations": lambda dtd: dtd["splits"]["val"].update(annotations_sha256=OTHER),
}
MALFORMED: dict[str, Change] = {
    "3 images, not 4": lambda dtd: dtd["splits"]["val"]["shards"][0].update(num_images=3),
    "4 images, not 9": lambda dtd: dtd["splits"]["val"].update(num_images=9),
    "2 class_names": lambda dtd: dtd["class_names"].pop(),
    "ids in a row": lambda dtd: dtd["category_ids"].reverse(),
    "shards of dtd val": swap,
    "shards of dtd train": lambda dtd: dtd["splits"].update(train=dtd["splits"]["val"]),
}


@pytest.fixture
def data(small: Official, tmp_path: Path) -> Path:
    prepare(small.write(), tmp_path / "data", jobs=0)
    return tmp_path / "data"


def changed(data: Path, change: Change, *, digest: bool) -> None:
    path = data / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest["domains"]["dtd"])
    if not digest:
        del manifest["digest"]
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize("what", [*QUIET, *TOLD])
def test_a_manifest_that_was_changed_is_refused(data: Path, what: str) -> None:
    changed(data, {**QUIET, **TOLD}[what], digest=True)
    for read in (verify, open_store):
        with pytest.raises(DataError, match=r"manifest\.json: was changed .*put the original back"):
            read(data)


@pytest.mark.parametrize("told", MALFORMED)
@pytest.mark.parametrize("digest", [True, False])
def test_a_manifest_has_to_add_up(data: Path, told: str, digest: bool) -> None:
    changed(data, MALFORMED[told], digest=digest)
    with pytest.raises(DataError, match=rf"(?s)not a valid manifest:.*{told}.*delete it and run"):
        open_store(data)


@pytest.mark.parametrize("told", TOLD)
def test_shards_are_compared_with_a_manifest_without_digest(
    small: Official, data: Path, told: str
) -> None:
    before = read_manifest(data)
    changed(data, TOLD[told], digest=False)
    with pytest.raises(DataError, match=rf"is not the shard that manifest\.json lists \({told}\)"):
        open_store(data).images("dtd", ["val"])
    with pytest.raises(DataError, match=rf"val\.h5: is not what manifest\.json says \({told}\)"):
        verify(data)
    prepare(small.folder, data, jobs=0)
    assert read_manifest(data) == before
    verify(data)


def test_a_shard_of_another_split_is_not_taken(data: Path) -> None:
    other = (data / "dtd" / "test.h5").read_bytes()
    (data / "dtd" / "val.h5").write_bytes(other)
    with pytest.raises(DataError, match=r"val\.h5: is not the shard .*\(split, annotations"):
        open_store(data).images("dtd", ["val"])


def test_a_manifest_without_digest_is_read(small: Official, data: Path) -> None:
    before = (data / "manifest.json").read_text()
    changed(data, lambda _: None, digest=False)
    verify(data)
    (data / "dtd" / "val.h5").unlink()
    assert prepare(small.folder, data, jobs=0).written == {"dtd": {"val": 4}}
    assert (data / "manifest.json").read_text() == before


def test_what_is_prepared_while_verify_reads_is_kept(
    official: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    prepare(official.write(), data, domains=["dtd", "svhn"], jobs=0)
    paths = [data / name / "val.h5" for name in ("dtd", "svhn")]
    whole = [path.read_bytes() for path in paths]
    for path in paths:
        shard = open_shard(path)
        raw = bytearray(path.read_bytes())
        raw[shard.start] ^= 1
        path.write_bytes(raw)
    examine = verifying.examine
    left = [3]

    def meanwhile(*arguments: Any) -> Any:
        left[0] -= 1
        found = examine(*arguments)
        if left[0] == 0:  # the three shards of dtd have been read
            monkeypatch.setattr(verifying, "examine", examine)
            prepare(official.folder, data, domains=["dtd", "imagenet12"], jobs=0)
        return found

    monkeypatch.setattr(verifying, "examine", meanwhile)
    with pytest.raises(DataError, match=r"1 of 9 shards are damaged:\n.*svhn/val\.h5"):
        verify(data)
    manifest = read_manifest(data)
    assert manifest is not None
    assert list(manifest.domains) == ["imagenet12", "dtd", "svhn"]
    assert manifest.domains["svhn"].splits["val"].shards[0].damaged == [(0, 0)]
    assert prepare(official.folder, data, jobs=0).written == {"svhn": {"val": 4}}
    assert [path.read_bytes() for path in paths] == whole


def test_verify_waits_for_nobody(
    small: Official, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl
    import os

    (data / "dtd" / "val.h5").unlink()
    before = (data / "manifest.json").read_bytes()
    handle = os.open(data / ".lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(
            DataError, match=r"(?s)1 of 3 shards.*not noted .*run 'decathlon verify'"
        ):
            verify(data)
    finally:
        os.close(handle)
    assert (data / "manifest.json").read_bytes() == before
