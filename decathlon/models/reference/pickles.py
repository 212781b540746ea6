"""Reads a pickle as data: no class is imported, and nothing that a file names is called.

Python's Unpickler does the work, with everything replaced that could run code or take memory
without bound. It is the one written in Python: the one in C takes 256 MiB for a pickle of 9 bytes
that names a high memo index. ``torch.load(weights_only=True)`` takes 256 MiB for a zip of 262 kB,
and one second for a pickle of 179 bytes, twice that for every 7 bytes more (a dict key made of
nested tuples).
"""

import io
import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pickle import UnpicklingError, _Unpickler  # noqa: TID251 - the one reader of pickles
from typing import Any

from decathlon.common.errors import DataError

MAX_BYTES = 32 << 20
"""Longest pickle that is read. Tensors are outside it: ten networks take about 1 MiB."""

MAX_STEPS = 2_000_000
"""Most opcodes and copied items; each takes at most about 200 bytes."""

OPCODES = {
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "NONE", "NEWTRUE", "NEWFALSE"),
    *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_SET", "ADDITEMS"),
    *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
}
"""The opcodes that checkpoints need; a pickle with any other is refused."""

Key = str | int | float | bytes | None
Make = Callable[[tuple[Any, ...]], Any]


class CheckpointError(DataError):
    """A file is damaged, or holds something that no checkpoint needs."""


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle may name.

    Attributes:
        text: Its dotted name.
        make: Builds the inert value for a call, from the call's arguments; None if the name
            may not be called.
    """

    text: str
    make: Make | None = None


@dataclass
class Described:
    """The description of an object in a pickle; it has no behaviour.

    Attributes:
        name: The dotted name of its class.
        state: Its attributes.
    """

    name: str
    state: dict[str, Any] = field(default_factory=dict, repr=False)


class Opaque:
    """A value whose attributes are ignored; the base of callers' own kinds."""


def shown(value: object) -> str:
    """Shows a value of a file in a message: short, on one line, printable."""
    text = value.text if isinstance(value, Name) else value
    if not isinstance(text, str | int | float | bytes | None):
        return f"a {type(text).__name__}"
    if isinstance(text, int) and abs(text) >= 1 << 64:
        return "a huge number"
    return ascii(text[:80] if isinstance(text, str | bytes) else text)


def as_key(value: object) -> Key:
    """Checks a key of a dict or an item of a set.

    Tuples are refused: one that is nested in itself many times takes forever to hash.
    """
    if isinstance(value, str | int | float | bytes | None):
        return value
    raise CheckpointError(f"is refused: it has {shown(value)} as a key of a dict")


def read_pickle(
    stream: io.BytesIO, names: Mapping[str, Name], persistent: Make | None = None
) -> Any:
    """Reads one pickle, up to and including its STOP.

    Args:
        stream: Positioned at its start; left behind its end.
        names: The allow-list, by ``"module name"``.
        persistent: Turns a persistent id, a tuple, into a value.

    Returns:
        Plain values, what ``names`` and ``persistent`` make, and :class:`Name`.

    Raises:
        CheckpointError: The pickle is damaged, too large, or holds anything else.
    """
    start, steps = stream.tell(), 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of escapes in damaged strings
            for _ in pickletools.genops(stream):
                steps = _charged(steps, 1)
            stream.seek(start)
            return _Reader(stream, names, persistent, steps).load()
    except (UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise CheckpointError(f"is damaged or truncated ({shown(str(error))})") from None


def _charged(steps: int, more: int) -> int:
    """Counts work, so that a few bytes cannot ask for any amount of it."""
    if steps + more > MAX_STEPS:
        raise CheckpointError(f"is refused: its pickle takes more than {MAX_STEPS} steps")
    return steps + more


class _Reader(_Unpickler):
    """Python's Unpickler that builds plain values and what the allow-list makes."""

    pop_mark: Callable[[], list[Any]]

    def __init__(
        self, stream: io.BytesIO, names: Mapping[str, Name], persistent: Make | None, steps: int
    ) -> None:
        super().__init__(stream, encoding="latin1")  # for byte strings of Python 2
        self.names, self.persistent, self.steps = names, persistent, steps
        self.stack: list[Any] = []

    def find_class(self, module: str, name: str) -> Name:
        """Looks a name up on the allow-list; nothing is imported."""
        text = f"{module} {name}"
        if text not in self.names:
            raise CheckpointError(
                f"is refused: it names {shown(text.replace(' ', '.'))}, which is not on the list"
                " of what a checkpoint may hold; nothing of it was run. For a network of another"
                " class, save its state_dict() instead"
            )
        return self.names[text]

    def persistent_load(self, pid: Any) -> Any:
        """Turns the description of a storage of numbers into a value."""
        if self.persistent is None or not isinstance(pid, tuple):
            raise CheckpointError(
                "is refused: its pickle refers to something outside in an unknown way"
            )
        return self.persistent(pid)

    def call(self) -> None:
        """REDUCE and NEWOBJ: builds the inert value for a call."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or name.make is None:
            raise CheckpointError(
                f"is refused: its pickle calls {shown(name)}; nothing of it was run"
            )
        if not isinstance(arguments, tuple):
            raise CheckpointError(f"is damaged: {name.text} is called with {shown(arguments)}")
        items = sum(len(a) for a in arguments if isinstance(a, list | tuple | dict))
        self.steps = _charged(self.steps, items)
        self.stack.append(name.make(arguments))

    def build(self) -> None:
        """BUILD: sets the attributes of a described object; those of others are dropped."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Described):
            if not (isinstance(state, dict) and all(isinstance(key, str) for key in state)):
                raise CheckpointError(f"is damaged: the state of a {target.name} is {shown(state)}")
            if target.state:
                raise CheckpointError(f"is damaged: the state of a {target.name} is set twice")
            target.state = state
        elif not isinstance(target, dict | Opaque):
            raise CheckpointError(f"is refused: its pickle sets attributes of {shown(target)}")

    def set_item(self) -> None:
        """SETITEM."""
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def set_items(self) -> None:
        """SETITEMS."""
        self._update(self.pop_mark())

    def make_dict(self) -> None:
        """DICT: makes a dict of the keys and values behind a mark."""
        items = self.pop_mark()
        self.stack.append({})
        self._update(items)

    def append_one(self) -> None:
        """APPEND."""
        self._extend([self.stack.pop()])

    def append_items(self) -> None:
        """APPENDS and ADDITEMS."""
        self._extend(self.pop_mark())

    def _update(self, items: list[Any]) -> None:
        """Adds keys and values, a flat list, to the dict on top of the stack."""
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise CheckpointError(f"is damaged: its pickle sets items of {shown(target)}")
        if len(items) % 2:
            raise CheckpointError("is damaged: a dict has a key without a value")
        target.update(zip(map(as_key, items[::2]), items[1::2], strict=True))

    def _extend(self, items: list[Any]) -> None:
        """Adds items to the list or set on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(map(as_key, items))
        else:
            raise CheckpointError(f"is damaged: its pickle appends to {shown(target)}")


_OWN = {
    "REDUCE": _Reader.call,
    "NEWOBJ": _Reader.call,
    "BUILD": _Reader.build,
    "SETITEM": _Reader.set_item,
    "SETITEMS": _Reader.set_items,
    "DICT": _Reader.make_dict,
    "APPEND": _Reader.append_one,
    "APPENDS": _Reader.append_items,
    "ADDITEMS": _Reader.append_items,
}


def _loader(opcode: str, code: int) -> Callable[[Any], None]:
    """Returns what does an opcode: our check, Python's own reader, or a refusal."""

    def refuse(reader: _Reader) -> None:
        raise CheckpointError(f"is refused: its pickle has the opcode {opcode}, which none needs")

    if opcode not in OPCODES:
        return refuse
    return _OWN.get(opcode) or _Unpickler.dispatch[code]


_Reader.dispatch = {ord(op.code): _loader(op.name, ord(op.code)) for op in pickletools.opcodes}
