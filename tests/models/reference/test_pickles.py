"""The pickle reader: plain values come through, everything else is refused and bounded."""

import contextlib
import io
import os
import pickle
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decathlon.models.reference import pickles
from decathlon.models.reference.names import ALLOWED
from decathlon.models.reference.pickles import CheckpointError, Described, read_pickle

keys = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
raw = st.binary(min_size=1, max_size=60)
plain = st.recursive(
    keys | raw,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(keys, inner)
        | st.sets(st.integers() | st.text())
    ),
)


def read(data: bytes) -> Any:
    return read_pickle(io.BytesIO(data), ALLOWED)


@given(plain, st.sampled_from([0, 1, 2, 3, 4, 5]))
@settings(max_examples=100)
def test_plain_values_come_through(value: Any, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value


def test_shared_and_cyclic_values_keep_their_identity() -> None:
    inner: list[Any] = [1]
    inner.append(inner)
    result = read(pickle.dumps([inner, inner]))
    assert result[0] is result[1] is result[0][1]


def test_text_of_python_2_is_latin_1() -> None:
    assert read(b"\x80\x02}U\x03n\xe9tU\x02\xff\x00s.") == {"n\xe9t": "\xff\x00"}


def test_an_escape_that_is_none_warns_nobody() -> None:
    assert read(b"S'a\\X'\n.") == "a\\X"


def test_the_reader_stops_behind_each_pickle() -> None:
    stream = io.BytesIO(pickle.dumps(1) + pickle.dumps("two") + b"rest")
    assert [read_pickle(stream, {}), read_pickle(stream, {})] == [1, "two"]
    assert stream.read() == b"rest"


def test_a_module_becomes_a_description() -> None:
    data = b"\x80\x02cmodels\nResNet\n)\x81}U\x08trainingI00\nsb."
    assert read(data) == Described("models.ResNet", {"training": False})


class Evil:
    """Pickles to a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def attacks(mark: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that would leave ``mark`` behind, and what must be named in the refusal."""
    touch = f"touch {mark}"
    code = f"__import__('os').mkdir({str(mark)!r})"
    text = b"S'" + touch.encode() + b"'\n"
    module = b"cmodels\nResNet\n"
    return {
        "os.system": (pickle.dumps(Evil(os.system, touch), 2), f"{os.name}.system"),
        "eval": (pickle.dumps(Evil(eval, code), 2), "__builtin__.eval"),
        "eval, protocol 4": (pickle.dumps(Evil(eval, code), 4), "builtins.eval"),
        "open": (pickle.dumps(Evil(open, str(mark), "w"), 3), "io.open"),
        "getattr": (b"c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        "inside a state": (module + b")\x81}U\x01acos\nsystem\n" + text + b"\x85Rsb.", "os.system"),
        "INST": (b"(" + text + b"ios\nsystem\n.", "INST"),
        "OBJ": (b"(cos\nsystem\n" + text + b"o.", "os.system"),
        "OBJ of a listed name": (b"(" + module + b"o.", "OBJ"),
        "a name with dots": (
            b"\x80\x04\x8c\x05torch\x8c\x17serialization.os.system\x93.",
            "torch.serialization.os.system",
        ),
        "extension": (b"\x80\x02\x82\x01.", "EXT1"),
        "NEWOBJ_EX": (b"\x80\x04" + module + b")}\x92.", "NEWOBJ_EX"),
        "text persistent id": (b"Pos.system\n.", "PERSID"),
        "a call of text": (b"U\x09os.system)R.", "os.system"),
        "a call of a storage type": (b"ctorch\nFloatStorage\nI9\n\x85R.", "torch.FloatStorage"),
        "a call of a description": (module + b")\x81)R.", "Described"),
        "state of a name": (module + b"}U\x01aI1\nsb.", "models.ResNet"),
    }


NAMES = sorted(attacks(Path("mark")))


@pytest.mark.parametrize("name", NAMES)
def test_attacks_are_refused_by_name_and_do_nothing(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data, named = attacks(mark)[name]
    with pytest.raises(CheckpointError) as error:
        read(data)
    assert named in str(error.value)
    assert not mark.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    # Python's own reader runs them: the test above can fail.
    for name in ("os.system", "eval", "eval, protocol 4", "INST", "OBJ"):
        mark = tmp_path / name.replace(" ", "")
        pickle.loads(attacks(mark)[name][0])
        assert mark.exists()


def chain(link: bytes, count: int) -> bytes:
    """A value that doubles with each link: 2^count if it were copied or walked."""
    return b"\x80\x02)q\x00" + link * count


STEPS = 60_000
"""Lower than usual here, so that the tests are quick."""

DOUBLED = chain(b"h\x00h\x00\x86q\x00", 200)
PAIRS = b"\x80\x02]q\x00(" + b"NN\x86" * 2_000 + b"e0"
STATE = b"\x80\x02}q\x00(" + b"".join(b"U\x04%04dN" % i for i in range(2_000)) + b"u0"
HARMLESS = {
    "a doubling memo": DOUBLED + b".",
    "deep lists": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
    "far memo places": b"\x80\x02]r\xff\xff\xff\xffj\xff\xff\xff\xff.",
    "a state shared by many": STATE + b"cmodels\nResNet\n)\x81h\x00b" * 4_000 + b".",
}
BOMBS = {
    "a doubling memo as a key": b"\x80\x02}" + DOUBLED[2:] + b"Ns.",
    "a doubling memo as a key of a dict": DOUBLED + b"}h\x00Ns.",
    "steps": b"\x80\x02" + b"}0" * STEPS + b".",
    "long text": b"\x80\x02X" + struct.pack("<I", 4_000_000_000) + b"abc",
    "very long text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"abc",
    "long number": b"\x80\x02\x8b" + struct.pack("<i", 2_000_000_000) + b"abc",
    "many digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "one list, many dicts": PAIRS + b"ccollections\nOrderedDict\nh\x00\x85R" * 60 + b".",
}


@pytest.mark.parametrize("name", sorted(HARMLESS | BOMBS))
def test_bombs_take_little_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_STEPS", STEPS)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) if name in BOMBS else contextlib.nullcontext():
            read((HARMLESS | BOMBS)[name])
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_broken_pickles_raise_nothing_else() -> None:
    whole = pickle.dumps({"a": [1, 2.5, ("b", None)], "c": {1, 2}, "d": [True, b"x"] * 20}, 4)
    start = [pickle.dumps([{"k": i} for i in range(9)], p) for p in (0, 1, 2, 4)] + [whole]
    generator = random.Random(1)
    read_well, refusals = 0, set()
    for _ in range(3000):
        data = bytearray(generator.choice(start))
        for _ in range(generator.randint(1, 3)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            read(bytes(data))
            read_well += 1
        except CheckpointError as error:
            refusals.add(str(error))
    assert read_well > 100
    assert len(refusals) > 20
    assert max(map(len, refusals)) < 400
