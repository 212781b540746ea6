"""The card of a bundle: whose row it is, and how it was made.

What the authors say of themselves (label, names, links, BibTeX) stands only here. Everything else
repeats what the records beside it say, so that a reader need not open them; ``decathlon
check-bundle`` compares the two.
"""

from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from decathlon.common.errors import ResultError, fault_lines
from decathlon.common.strict import Sha256, StrictModel
from decathlon.results.controls import Routing
from decathlon.results.records import Code, SubsetName, parse_json
from decathlon.results.selection import Selection
from decathlon.suites.base import Crop

SCHEMA: Final = 1
"""Version of the cards written here."""
CARD = "card.json"
MAX_AUTHORS = 1000


def is_web_address(text: str) -> bool:
    """Returns whether a text is an address of the web that can stand in a link."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fits = False
    return fits and text.isprintable() and " " not in text


def _web_address(text: str) -> str:
    if not is_web_address(text):
        raise ValueError(f"{text!r} is not an address that begins with https:// or http://")
    return text


WebAddress = Annotated[str, Field(max_length=2000), AfterValidator(_web_address)]
Line = Annotated[str, Field(min_length=1, max_length=200)]


class Card(StrictModel):
    """What a bundle says of its row.

    Attributes:
        version: Version of this schema; ``schema`` in the file.
        label: What the row is called, as its authors want it.
        authors: Their names, as given.
        links: Web addresses by what they lead to, such as ``paper``.
        bibtex: An entry to cite; empty if there is none.
        suite: Name of the suite.
        split: Split that the row was evaluated on.
        method: Registered name of the method.
        code: Code of the method, or None where no record names it.
        settings: Settings of the method that all trials share; None where nothing was trained.
        chosen: Settings that were chosen on val, by trial, such as ``dtd/test/seed0``.
        selection: How they were chosen, without the outcome; None if all settings were given.
        subset: Size of the subset of the training images, such as ``10shot``; empty for all.
        crop: What images are cut from, in domains that have bounding boxes.
        routing: The control of routing that was evaluated; None if there is none.
        network: Architecture of the source network, or None where no record names it.
        source: SHA-256 of the source network's weights, or None where none were used.
        decathlon: Version of the program that made the bundle.
    """

    version: Annotated[Literal[1], Field(alias="schema")] = SCHEMA
    label: Line
    authors: Annotated[tuple[Line, ...], Field(max_length=MAX_AUTHORS)] = ()
    links: dict[Line, WebAddress] = {}
    bibtex: Annotated[str, Field(max_length=20_000)] = ""
    suite: Line
    split: Literal["val", "test"]
    method: Line
    code: Code | None
    settings: dict[str, Any] | None
    chosen: dict[str, dict[str, Any]] = {}
    selection: Selection | None
    subset: SubsetName
    crop: Crop
    routing: Routing | None
    network: dict[str, Any] | None
    source: Sha256 | None
    decathlon: Line

    def as_json(self) -> dict[str, Any]:
        """Returns what ``card.json`` holds."""
        return self.model_dump(mode="json", by_alias=True)


def read_card(raw: bytes, where: str) -> Card:
    """Reads a card.

    Args:
        raw: The bytes of ``card.json``.
        where: What messages call it.

    Raises:
        ResultError: It is not a valid card; names every field at fault.
    """
    value = parse_json(raw, where)
    if isinstance(value, dict) and value.get("schema", SCHEMA) != SCHEMA:
        raise ResultError(
            f"{where}: schema: is {value['schema']!r}, this version reads up to {SCHEMA}; install"
            " the version of decathlon that wrote it"
        )
    try:
        return Card.model_validate_json(raw)
    except ValidationError as error:
        problems = fault_lines(error.errors(include_url=False), "card")
        raise ResultError(
            f"{where}: not a valid card:\n{problems}\n`decathlon bundle` writes one"
        ) from None
