"""Reads a pickle as data: a small stack machine that can build plain values and no others.

A pickle is a program. Python's own reader runs it, which may call any function there is.
This one knows the opcodes that checkpoints are made of, and turns a name into something
only if it is on a list that the caller gives; nothing is imported and nothing of the
file's is called. Work and memory are bounded, whatever the file says.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pickletools import OpcodeInfo, genops
from typing import Any

from decathlon.common.errors import DataError

MAX_BYTES = 32 << 20
"""Longest pickle that is read. Tensors are kept outside: ten networks take about 1 MiB."""

MAX_STEPS = 2_000_000
"""Most opcodes and copied items; one of either takes at most about 200 bytes."""

Key = str | int | float | bytes | None
Make = Callable[[tuple[Any, ...]], Any]


class CheckpointError(DataError):
    """A file is damaged, or holds what a checkpoint has no need of."""


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle may name.

    Attributes:
        text: Its dotted name.
        make: Builds the inert value that stands for a call, from the call's arguments;
            None where the name is only mentioned.
    """

    text: str
    make: Make | None = None


@dataclass
class Described:
    """What a pickle says of an object of a class; it has no behaviour.

    Attributes:
        name: The class's dotted name.
        state: The object's attributes.
    """

    name: str
    state: dict[str, Any] = field(default_factory=dict, repr=False)


class Opaque:
    """A value whose attributes are of no interest; the base of callers' own kinds."""


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

    Tuples are refused: one nested in itself many times takes forever to hash.
    """
    if isinstance(value, str | int | float | bytes | None):
        return value
    raise CheckpointError(f"is refused: it has {shown(value)} as a key of a dict")


def pairs(items: list[Any]) -> Iterator[tuple[Key, Any]]:
    """Pairs a flat list of keys and values."""
    if len(items) % 2:
        raise CheckpointError("is damaged: a dict has a key without a value")
    for i in range(0, len(items), 2):
        yield as_key(items[i]), items[i + 1]


def read_pickle(
    stream: io.BytesIO, names: Mapping[str, Name], persistent: Make | None = None
) -> Any:
    """Reads one pickle, up to and including its STOP.

    Args:
        stream: Where it begins; left behind its end.
        names: What it may name, by ``"module name"``.
        persistent: Turns a persistent id, a tuple, into a value.

    Returns:
        Plain values, what ``names`` and ``persistent`` make, and :class:`Name`.

    Raises:
        CheckpointError: The pickle is damaged, too large, or holds anything else.
    """
    machine = _Machine(names, persistent)
    try:
        for opcode, argument, _ in genops(stream):
            machine.step(opcode, argument)
    except (ValueError, UnicodeError) as error:
        raise CheckpointError(f"is damaged or truncated ({shown(str(error))})") from None
    return machine.pop()


class _Machine:
    """The stack machine: a stack, the stacks below the open marks, and the memo."""

    def __init__(self, names: Mapping[str, Name], persistent: Make | None) -> None:
        self.names, self.persistent = names, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.steps = 0

    def step(self, opcode: OpcodeInfo, argument: Any) -> None:
        """Does one opcode."""
        self.charge(1)
        name = opcode.name
        if name in _PUSH_ARGUMENT:
            self.push(argument)
        elif name in _PUSH_NEW:
            self.push(_PUSH_NEW[name]())
        elif name in _DO:
            _DO[name](self, argument)
        elif name not in _NOTHING:
            raise CheckpointError(f"is refused: its pickle has the opcode {name}, which none needs")

    def charge(self, steps: int) -> None:
        """Counts work, so that a few bytes cannot ask for any amount of it."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise CheckpointError(f"is refused: its pickle takes more than {MAX_STEPS} steps")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def discard(self, _: Any) -> None:
        """POP: drops the top value, or an open mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def pop(self) -> Any:
        if not self.stack:
            raise CheckpointError("is damaged: its pickle takes a value where there is none")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.push(value)
        return value

    def pop_mark(self) -> list[Any]:
        if not self.below:
            raise CheckpointError("is damaged: its pickle closes a group that was not opened")
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def discard_group(self, _: Any) -> None:
        self.pop_mark()

    def take(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise CheckpointError("is damaged: its pickle recalls a value that was not kept")
        self.push(self.memo[index])

    def extend(self, items: list[Any]) -> None:
        """Adds items to the list, set or dict on top of the stack."""
        target = self.top()
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(as_key(item) for item in items)
        else:
            raise CheckpointError(f"is damaged: its pickle appends to {shown(target)}")

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict):
            raise CheckpointError(f"is damaged: its pickle sets items of {shown(target)}")
        target.update(pairs(items))

    def name(self, text: str) -> None:
        """Looks a name up; anything that is not on the list ends the reading."""
        if text not in self.names:
            dotted = shown(text.replace(" ", "."))
            raise CheckpointError(
                f"is refused: it names {dotted}, which is not on the list of what a checkpoint"
                " may hold; nothing of it was run. For a network of another class, save its"
                " state_dict() instead"
            )
        self.push(self.names[text])

    def stack_name(self, _: Any) -> None:
        module, name = self.take(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise CheckpointError("is damaged: its pickle names something without a text")
        self.name(f"{module} {name}")

    def call(self, _: Any) -> None:
        """REDUCE and NEWOBJ: builds what stands for a call of a name on the list."""
        name, arguments = self.take(2)
        if not isinstance(name, Name) or name.make is None:
            raise CheckpointError(
                f"is refused: its pickle calls {shown(name)}; nothing of it was run"
            )
        if not isinstance(arguments, tuple):
            raise CheckpointError(f"is damaged: {name.text} is called with {shown(arguments)}")
        self.charge(sum(len(a) for a in arguments if isinstance(a, list | tuple | dict)))
        self.push(name.make(arguments))

    def build(self, _: Any) -> None:
        """BUILD: the attributes of a described object; those of others are let go."""
        state = self.pop()
        target = self.top()
        if isinstance(target, Described):
            if not (isinstance(state, dict) and all(isinstance(key, str) for key in state)):
                raise CheckpointError(f"is damaged: the state of a {target.name} is {shown(state)}")
            if target.state:
                raise CheckpointError(f"is damaged: the state of a {target.name} is set twice")
            target.state = state
        elif not isinstance(target, dict | Opaque):
            raise CheckpointError(f"is refused: its pickle sets attributes of {shown(target)}")

    def persist(self, _: Any) -> None:
        key = self.pop()
        if self.persistent is None or not isinstance(key, tuple):
            raise CheckpointError(
                "is refused: its pickle refers to something outside in an unknown way"
            )
        self.push(self.persistent(key))


_PUSH_ARGUMENT = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
"""Opcodes that push their argument; byte strings of Python 2 come as latin-1 text."""

_PUSH_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}

_NOTHING = {"PROTO", "FRAME", "STOP"}

_DO: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.discard,
    "POP_MARK": _Machine.discard_group,
    "DUP": lambda m, _: m.push(m.top()),
    "LIST": lambda m, _: m.push(m.pop_mark()),
    "DICT": lambda m, _: m.push(dict(pairs(m.pop_mark()))),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_mark())),
    "TUPLE1": lambda m, _: m.push(tuple(m.take(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.take(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.take(3))),
    "APPEND": lambda m, _: m.extend(m.take(1)),
    "APPENDS": lambda m, _: m.extend(m.pop_mark()),
    "ADDITEMS": lambda m, _: m.extend(m.pop_mark()),
    "SETITEM": lambda m, _: m.set_items(m.take(2)),
    "SETITEMS": lambda m, _: m.set_items(m.pop_mark()),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persist,
}
"""What the other opcodes do; one that is in none of these tables is refused."""
