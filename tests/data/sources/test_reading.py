"""JSON, tar and gzip as streams: the same as the standard library reads, whatever the chunks."""

import gzip
import io
import json
import tarfile
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decathlon.common.errors import DataError
from decathlon.data.sources import jsonstream
from decathlon.data.sources.annotations import read_annotations
from decathlon.data.sources.jsonstream import batches
from decathlon.data.sources.streaming import Hashed, unpacked
from decathlon.data.sources.tar import Tar
from tests.data.official import member, tar_bytes


def outcome(work: Callable[[], Any]) -> tuple[str, Any]:
    """Returns (what was complained of, what came out)."""
    try:
        return "", work()
    except DataError as error:
        return str(error), None


def read_tar(data: bytes) -> tuple[str, Any]:
    tar = Tar(io.BytesIO(data), "x.tar")
    return outcome(lambda: [(m.name, m.size, m.kind, tar.read()) for m in tar.members()])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def elements(source: Any, where: str) -> list[tuple[str, Any]]:
    return [(key, item) for key, items in batches(source, where) for item in items]


class Dribble:
    """Gives fewer bytes than asked for in chunks of a fixed size."""

    def __init__(self, data: bytes, size: int) -> None:
        self.file, self.size = io.BytesIO(data), size

    def read(self, size: int = -1, /) -> bytes:
        return self.file.read(self.size)


@given(
    st.dictionaries(st.text(max_size=4), st.lists(VALUES, max_size=5) | VALUES, max_size=5),
    st.integers(1, 7),
    st.sampled_from([None, 1]),
)
@settings(max_examples=60)
def test_elements_are_those_of_json(value: dict, size: int, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    expected = [(k, v) for k, values in value.items() if isinstance(values, list) for v in values]
    try:
        text.decode()
    except UnicodeDecodeError:
        with pytest.raises(DataError, match="not UTF-8"):
            elements(Dribble(text, size), "x")
        return
    assert elements(Dribble(text, size), "x") == expected


def test_many_small_elements_pass_through_a_small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "LONGEST", 100)
    value = {"a": [{"id": k, "text": "ü" * (k % 30)} for k in range(5000)], "b": [1]}
    text = json.dumps(value, ensure_ascii=False).encode()
    found = elements(Dribble(text, 997), "x")
    assert found == [("a", v) for v in value["a"]] + [("b", 1)]


@given(st.binary(max_size=60))
@settings(max_examples=100)
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    told, _ = outcome(lambda: elements(io.BytesIO(b'{"a": [' + data), "x"))
    if told:
        assert told.startswith("x: not a valid annotation file")
    else:
        json.loads(b'{"a": [' + data)


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=("Cs",)),
    min_size=1,
    max_size=150,
).filter(lambda name: name not in (".", ".."))


@given(
    st.lists(st.tuples(NAMES, NAMES, st.binary(max_size=1200)), max_size=5),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.booleans(),
)
@settings(max_examples=60)
def test_members_are_those_of_tarfile(
    parts: list[tuple[str, str, bytes]], kind: int, read: bool
) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as tar:
        for folder, name, data in parts:
            try:
                tar.addfile(member(f"{folder}/{name}", data), io.BytesIO(data))
            except ValueError:
                return  # ustar holds no such name
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        expected = [(m.name, m.size, tar.extractfile(m).read()) for m in tar]
    own = Tar(io.BytesIO(file.getvalue()), "x")
    found = [(m.name, m.size, own.read() if read else None) for m in own.members()]
    assert [f[:2] for f in found] == [(n.removeprefix("./"), s) for n, s, _ in expected]
    if read:
        assert [f[2] for f in found] == [data for *_, data in expected]


def test_a_tar_cut_anywhere_is_refused_or_shorter() -> None:
    pairs = [(member(f"{'long' * 40}{k}", b"x" * 700), b"x" * 700) for k in range(3)]
    whole = tar_bytes(pairs)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        end = tar.getmembers()[-1].offset_data + 1024
    for cut in range(0, end + 1, 64):
        told, found = read_tar(whole[:cut])
        if told:
            assert "x.tar: ends in the middle (truncated)" in told
        else:
            assert cut % 512 == 0
            assert found == [(info.name, 700, "file", data) for info, data in pairs][: len(found)]


@given(st.integers(0, 511), st.integers(1, 255))
@settings(max_examples=60)
def test_a_damaged_header_is_refused(place: int, change: int) -> None:
    data = bytearray(tar_bytes([(member("name", b"data"), b"data")]))
    data[place] ^= change
    told, found = read_tar(bytes(data))
    if told:
        assert "x.tar" in told
    else:
        # Only spaces and zeros inside the checksum's own field make no difference.
        assert 148 <= place < 156
        assert found == [("name", 4, "file", b"data")]


@pytest.mark.parametrize(
    ("records", "told"),
    [
        (b"9999999 path=x\n", "pax header"),
        (b"\xc2\xb2 path=x\n", "pax header"),
        (b"nonsense", "pax header"),
        (b"20 size=12345678901\n", "truncated"),
        (b"13 size=-123\n", "size is '-123'"),
        (b"11 size=x1\n", "size is 'x1'"),
    ],
)
def test_pax_headers_that_lie(records: bytes, told: str) -> None:
    info = member("x", records)
    info.type = tarfile.XHDTYPE
    data = info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0")
    data += member("name", b"data").tobuf(tarfile.USTAR_FORMAT) + b"data"
    with pytest.raises(DataError, match=told):
        list(Tar(io.BytesIO(data), "x.tar").members())


@pytest.mark.parametrize(
    "number", [b"-1", b"-1000", b"+10", b"1_0", b"0o10", b"1 0", b"9", b"\xff" * 12, b"\x81" * 12]
)
def test_a_number_is_octal_digits_or_nothing(number: bytes) -> None:
    raw = bytearray(tar_bytes([(member("a", b"hello"), b"hello")]))
    raw[124:136] = number.ljust(12, b"\0")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    told, _ = read_tar(bytes(raw))
    assert "a member's size is no number" in told


def test_an_extended_header_of_any_size_is_refused() -> None:
    info = member("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    with pytest.raises(DataError, match="extended header of 1099511627776 bytes"):
        list(Tar(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)), "x.tar").members())


def read_all(data: bytes, name: str = "x.gz") -> bytes:
    stream = unpacked(Hashed(io.BytesIO(data)), name)
    found = b""
    while part := stream.read(1000):
        found += part
    return found


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=3), st.integers(0, 600))
@settings(max_examples=40)
def test_gzip_is_unpacked(parts: list[bytes], padding: int) -> None:
    packed = b"".join(map(gzip.compress, parts)) + bytes(padding)
    assert read_all(packed) == b"".join(parts)


@pytest.mark.parametrize("chunk", [1, 2, 7, 19, 20, 21, 1000])
def test_gzip_parts_may_end_anywhere(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dribbling(io.BytesIO):
        def readinto(self, buffer: Any, /) -> int:
            return super().readinto(memoryview(buffer)[:chunk])

    monkeypatch.setattr(io, "BytesIO", Dribbling)
    parts = [b"", b"one" * 500, b"", b"two"]
    packed = bytes(5).join(map(gzip.compress, parts))
    assert read_all(packed) == b"".join(parts)
    with pytest.raises(DataError, match="ends in the middle"):
        read_all(packed[:-1])


def test_many_small_gzip_parts_take_no_longer_than_a_large_one() -> None:
    packed = gzip.compress(b"") * 200_000
    began = time.process_time()
    assert read_all(packed) == b""
    assert time.process_time() - began < 3  # 0.4 s; 9 s where each part copies what follows


def test_gzip_damage_is_told() -> None:
    packed = gzip.compress(bytes(range(256)) * 20)
    for cut in (1, 5, 30, len(packed) - 4):
        with pytest.raises(DataError, match=r"x\.gz: ends in the middle"):
            read_all(packed[:cut])
    with pytest.raises(DataError, match=r"x\.gz: damaged"):
        read_all(packed[:-8] + b"abcd" + packed[-4:])
    with pytest.raises(DataError, match=r"x\.gz: damaged \(bytes after its end\)"):
        read_all(packed + b"and more of it")
    with pytest.raises(DataError, match=r"x\.gz: damaged"):
        read_all(b"not gzip at all")


def test_the_digest_covers_what_was_not_read() -> None:
    import hashlib

    data = bytes(range(256)) * 9000
    source = Hashed(io.BytesIO(data))
    unpacked(source, "x.tar").read(10)
    assert source.finish() == hashlib.sha256(data).hexdigest()
    assert source.count == len(data)


def test_annotations_may_come_in_any_order() -> None:
    value = {
        "annotations": [{"image_id": 7, "category_id": 2}, {"image_id": 3, "category_id": 1}],
        "categories": [{"id": 2, "name": "b"}, {"id": 1, "name": "a"}],
        "images": [
            {"id": 3, "file_name": "data/x/train/1.jpg", "width": 72, "height": 80},
            {"id": 7, "file_name": "x/train/2.jpg"},
        ],
    }
    found = read_annotations(io.BytesIO(json.dumps(value).encode()), "x")
    assert found.image_ids.tolist() == [3, 7]
    assert found.categories.tolist() == [1, 2]
    assert (found.heights.tolist(), found.widths.tolist()) == ([80, 0], [72, 0])
    assert list(found.names) == [b"x/train/1.jpg", b"x/train/2.jpg"]
    assert found.class_names == {2: "b", 1: "a"}
