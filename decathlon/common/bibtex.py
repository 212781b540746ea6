"""BibTeX entries as text: found, listed by key, and put in words.

Entries come from packages that anyone may have written, and are short. No library of BibTeX is
small enough to be needed for every use of the program; the tests read all built-in entries with
one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_START = re.compile(r"@(\w+)\s*\{\s*([^\s,{}]+)\s*,")
_FIELD = re.compile(r"\s*([A-Za-z][\w-]*)\s*=\s*")
_VENUES = ("booktitle", "journal", "institution", "publisher")


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        kind: Such as ``article``, in lower case.
        key: By which it is cited.
        fields: Values by name in lower case, without the braces around them, in one line each.
        text: The entry as it was written.
    """

    kind: str
    key: str
    fields: dict[str, str]
    text: str

    def in_words(self) -> str:
        """Returns authors, title, where it was published, and year as one line."""
        fields = {name: re.sub(r"[{}]", "", value) for name, value in self.fields.items()}
        venue = next((fields[name] for name in _VENUES if name in fields), "")
        if not venue and "eprint" in fields:
            venue = f"{fields.get('archiveprefix', 'eprint')} {fields['eprint']}"
        if not venue and "version" in fields:
            venue = f"Version {fields['version']}"
        where = ", ".join(filter(None, (venue, fields.get("year", ""))))
        parts = (_authors(fields.get("author", "")), fields.get("title", ""), where)
        return " ".join(part if part.endswith(("?", ".")) else f"{part}." for part in parts if part)


def _authors(text: str) -> str:
    names = []
    for name in text.split(" and ") if text else []:
        last, _, first = name.partition(", ")
        names.append(f"{first} {last}".strip())
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def entries(text: str) -> list[Entry]:
    """Returns the entries of a text, in order.

    Raises:
        ValueError: It has something else than entries, or one that is not complete.
    """
    found, rest = [], text.strip()
    while rest:
        start = _START.match(rest)
        if start is None:
            raise ValueError(f"expected '@type{{key,' at '{rest[:30]}'")
        body = _braced(rest, rest.index("{"))
        fields = dict(_fields(body[start.end() - rest.index("{") - 1 :]))
        end = rest.index("{") + len(body) + 2
        found.append(Entry(start[1].lower(), start[2], fields, rest[:end]))
        rest = rest[end:].strip()
    return found


def _braced(text: str, start: int) -> str:
    """Returns what is between the brace at ``start`` and the one that closes it."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 1 : place]
    raise ValueError(f"a brace is not closed: '{text[start : start + 30]}'")


def _fields(body: str) -> Iterator[tuple[str, str]]:
    rest = body.strip()
    while rest:
        field = _FIELD.match(rest)
        if field is None:
            raise ValueError(f"expected 'field = {{value}}' at '{rest[:30]}'")
        rest = rest[field.end() :]
        if rest.startswith("{"):
            value = _braced(rest, 0)
            rest = rest[len(value) + 2 :]
        else:
            bare = re.match(r'"[^"]*"|\w+', rest)
            if bare is None:
                raise ValueError(f"'{field[1]}' has no value")
            value, rest = bare[0].strip('"'), rest[bare.end() :]
        yield field[1].lower(), " ".join(value.split())
        rest = rest.strip()
        if rest and not rest.startswith(","):
            raise ValueError(f"expected a comma at '{rest[:30]}'")
        rest = rest.removeprefix(",").strip()
