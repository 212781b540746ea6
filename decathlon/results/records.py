"""The record of a trial.

One trial, a method trained on a domain, is one JSON file, validated when it is written
and when it is read. ``environment``, ``timing`` and ``cost`` are kept apart from the rest:
two runs of the same trial agree in everything else.

    RESULTS/<name>/<domain>/<split>[+<subset>]/seed<k>/record.json
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from decathlon.common.errors import ResultError, fault_lines
from decathlon.common.files import write_json
from decathlon.common.oserrors import explained
from decathlon.common.strict import Count, Sha256, StrictModel
from decathlon.common.text import visible
from decathlon.results.controls import Routing
from decathlon.results.selection import Selection
from decathlon.suites.base import Crop
from decathlon.suites.registry import DEFAULT
from decathlon.suites.subset import Subset

FORMAT: Final = 2
"""Version of the records written here; records of version 1 are upgraded when they are read."""
RECORD = "record.json"
PREDICTIONS = "predictions.json"
ROUTING = "routing.json"
WEIGHTS = "weights.safetensors"
LOG = "log.jsonl"
LOGITS = "logits.safetensors"
LONGEST = 200
"""Bytes of a name in the results, which is also that of a folder."""
LARGEST = 1e300
LONGEST_INTEGER = 30
"""Digits of an integer; 64 bits take 19."""
RESERVED = ("published", "sources")
"""Folder names under RESULTS that no method or variant can have."""


def is_name(text: str) -> bool:
    """Returns whether records can have a name in the results, which is also that of a folder."""
    fits = bool(text) and text.isprintable() and len(text.encode()) <= LONGEST
    return fits and text not in RESERVED and "/" not in text and not text.startswith(".")


SubsetName = Annotated[str, AfterValidator(lambda name: str(Subset.named(name)) if name else "")]
"""Name of a :class:`decathlon.suites.subset.Subset`; empty for all images."""

M = TypeVar("M", bound=StrictModel)


class Code(StrictModel):
    """The code of the method that computed a result.

    Attributes:
        distribution: Name of the distribution that the method comes from.
        version: Its version.
        sha256: Digest of the method's module and of what it imports; see
            :func:`decathlon.method.code.code_of`.
    """

    distribution: str
    version: str
    sha256: Sha256


class Parameters(StrictModel):
    """Bits on disk of the tensors that count as parameters (no running statistics).

    Attributes:
        source: All of the source network's, without its head.
        shared: Of the source's tensors that this domain's network uses as they are.
        domain: Of the domain's own tensors, without its head.
        head: Of the domain's classifier.
        unit: One plain network of the source's width, without a head.
    """

    source: Count
    shared: Count
    domain: Count
    head: Count
    unit: Annotated[int, Field(gt=0)]


class Cost(StrictModel):
    """What a result takes to compute.

    Attributes:
        flops: Floating-point operations by which a test image is classified, a multiply-add
            counted as two; None where they cannot be counted, and of a control of routing.
        peak_memory: Highest memory during the trial in bytes, training and evaluation: allocated
            on a GPU, else resident in the process; None where the system does not tell.
    """

    flops: Count | None
    peak_memory: Count | None


class RunRecord(StrictModel):
    """What one finished run says of itself.

    Attributes:
        format: Version of this schema.
        name: The method's name, or that of a variant of it.
        method: Registered name of the method.
        domain: Domain evaluated on.
        split: Split evaluated on.
        seed: Seed of all randomness.
        trained_on: Splits trained on, joined by "+"; empty where nothing was trained.
        trained: Whether anything was trained for this domain.
        source_domain: What the method does on the source domain (see ``Method``).
        official: Whether the domain's counts are those of the official set.
        num_classes: Number of classes.
        correct: Images classified correctly, or None where labels are unknown.
        total: Images evaluated, or None where labels are unknown.
        correctness: One bit an image in the order of ``predictions.json``, packed big
            end first, in hex; or None where labels are unknown.
        parameters: Stored bits.
        recipe: All settings of the method.
        chosen: What the method chose by training images that it held out, such as the decay of the
            linear probe; left out if it chose nothing.
        threads: Threads that torch computed with.
        data: SHA-256 of the shards used, by split.
        source: SHA-256 of the source weights, or None where none were used.
        suite: Name of the suite; earlier versions, which know one, do not write it.
        subset: The part of the training images that was trained on, such as ``10shot`` or
            ``25pct.d1``; empty for all of them. Earlier versions do not write it.
        crop: What images were cut from: ``box`` with ``--crop box`` in domains with bounding
            boxes. Earlier versions do not write it.
        routing: Of a control of routing: which one, and whose weights; else None. Earlier versions
            do not write it.
        num_trained: Images trained on; None where nothing was trained, and in records of earlier
            versions.
        selection: How the settings were chosen by ``decathlon sweep``; left out if they were given.
        network: Architecture of the source network, or None in records of format 1.
        code: Code of the method; None in records of format 1, and where the source network
            is evaluated as it is.
        predictions: SHA-256 of ``predictions.json``, or None in records of format 1.
        environment: Device, precision, versions, git state.
        timing: Seconds and rates.
        cost: Operations and memory; None, and left out, in records of earlier versions.
    """

    format: Literal[2] = FORMAT
    name: Annotated[str, Field(min_length=1, max_length=LONGEST)]
    method: Annotated[str, Field(min_length=1)]
    domain: Annotated[str, Field(min_length=1)]
    split: Literal["train", "val", "test"]
    seed: Count
    trained_on: str
    trained: bool
    source_domain: Literal["keep", "train", "joint"]
    official: bool
    num_classes: Annotated[int, Field(ge=1)]
    correct: Count | None
    total: Annotated[int, Field(ge=1)] | None
    correctness: Annotated[str, Field(pattern="^[0-9a-f]*$")] | None
    parameters: Parameters
    recipe: dict[str, Any]
    chosen: Annotated[dict[str, Any], Field(exclude_if=lambda chosen: not chosen)] = {}
    threads: Annotated[int, Field(ge=1)]
    data: dict[str, str]
    source: str | None
    suite: str = DEFAULT.name
    subset: SubsetName = ""
    crop: Crop = "image"
    routing: Routing | None = None
    num_trained: Count | None = None
    selection: Selection | None = Field(default=None, exclude_if=lambda value: value is None)
    network: dict[str, Any] | None
    code: Code | None
    predictions: Sha256 | None
    environment: dict[str, Any]
    timing: dict[str, Any]
    cost: Annotated[Cost | None, Field(exclude_if=lambda cost: cost is None)] = None

    @model_validator(mode="after")
    def _counts_agree(self) -> "RunRecord":
        known = (self.correct is None, self.total is None, self.correctness is None)
        if len(set(known)) != 1:
            raise ValueError("correct, total and correctness are all known or all null")
        if self.correct is not None and self.total is not None and self.correctness is not None:
            if self.correct > self.total:
                raise ValueError(f"correct ({self.correct}) exceeds total ({self.total})")
            if len(self.correctness) != 2 * -(-self.total // 8):
                raise ValueError(f"correctness does not hold {self.total} bits")
            bits = int(self.correctness, 16)
            if bits & ((1 << -self.total % 8) - 1):
                raise ValueError(f"correctness has ones beyond its {self.total} images")
            if bits.bit_count() != self.correct:
                raise ValueError(f"correctness does not hold {self.correct} ones")
        return self

    @property
    def accuracy(self) -> float | None:
        """Accuracy in percent, or None where labels are unknown."""
        if self.correct is None or self.total is None:
            return None
        return 100 * self.correct / self.total

    @property
    def together(self) -> list[str]:
        """The domains that one training was on: this one, or all of a joint training."""
        named = self.recipe.get("domains")
        return [str(one) for one in named] if isinstance(named, list) and named else [self.domain]

    @property
    def folder(self) -> Path:
        """The record's folder, relative to RESULTS."""
        return trial_folder(self.name, self.domain, self.split, self.seed, self.subset)


def trial_folder(name: str, domain: str, split: str, seed: int, subset: str = "") -> Path:
    """Returns the folder of a trial relative to RESULTS."""
    return Path(name) / domain / (f"{split}+{subset}" if subset else split) / f"seed{seed}"


def split_of(path: Path) -> str:
    """Returns the split of a record by its path."""
    return path.parts[-3].partition("+")[0]


def pack_bits(correct: Iterable[bool]) -> str:
    """Packs one bit an image, big end first, into hex; the last byte is filled with 0."""
    bits = "".join("1" if c else "0" for c in correct)
    bits += "0" * (-len(bits) % 8)
    return f"{int(bits, 2):0{len(bits) // 4}x}" if bits else ""


def refuse_constant(constant: str) -> NoReturn:
    """Refuses NaN and infinities, which Python's JSON reader would take."""
    raise ValueError(f"{constant} is no number")


def read_json(path: Path) -> Any:
    """Reads a file of results that is JSON.

    Raises:
        ResultError: It cannot be read, or is not JSON.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for a writer
            raise ResultError(f"{path}: is not a regular file")
        raw = path.read_bytes()
    except OSError as error:
        raise ResultError(explained(error, path, failed="cannot be read")) from None
    return parse_json(raw, f"{path}", "delete it or run the trial again")


def parse_json(raw: bytes, where: str, mend: str = "put the original file back") -> Any:
    """Parses what a file of results holds.

    Args:
        raw: Its bytes.
        where: What messages call it.
        mend: How to mend it.

    Raises:
        ResultError: It is not JSON, or has a number that is none or that no result has.
    """
    try:
        return json.loads(
            raw, parse_constant=refuse_constant, parse_float=_bounded, parse_int=_whole
        )
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{where}: not JSON ({error}); {mend}") from None


def _bounded(text: str) -> float:
    """Returns a number that can be added to others without becoming infinite."""
    value = float(text)
    if abs(value) > LARGEST:
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _whole(text: str) -> int:
    """Returns an integer that is a float's to hold; strangers' may have thousands of digits."""
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"{text[:20]}... is too large a number")
    return int(text)


def validated(model: type[M], value: Any, path: Path, context: Any = None) -> M:
    """Validates what a file holds.

    Args:
        model: A model with a field ``format``.
        value: What the file holds.
        path: The file.
        context: What the model's validators need to know.

    Raises:
        ResultError: It is not valid; names every field at fault.
    """
    newest = model.model_fields["format"].default
    if isinstance(value, dict) and value.get("format", newest) != newest:
        raise ResultError(
            f"{path}: format: is {value['format']!r}, this version reads up to {newest};"
            " install the version of decathlon that wrote it"
        )
    try:
        return model.model_validate_json(json.dumps(value), context=context)
    except ValidationError as error:
        problems = fault_lines(error.errors(include_url=False), "record")
        raise ResultError(
            f"{path}: not a valid {model.__name__}:\n{problems}\n"
            "mend or delete the file, or run the trial again with --force"
        ) from None


def read_record(path: Path) -> RunRecord:
    """Reads one record; one of format 1 is upgraded, and what it does not say is None.

    Raises:
        ResultError: The file is not a valid record; names every field at fault.
    """
    value = read_json(path)
    if isinstance(value, dict) and value.get("format") == 1:
        value |= {"format": FORMAT, "network": None, "code": None, "predictions": None}
    return validated(RunRecord, value, path)


def read_placed(results: Path, path: Path) -> RunRecord:
    """Reads a record that has to lie in its own folder under ``results``.

    Raises:
        ResultError: It is not valid, or lies elsewhere.
    """
    record = read_record(path)
    check_placed(results, path, record)
    return record


def check_placed(results: Path, path: Path, record: RunRecord) -> None:
    """Checks that a record lies in its own folder under ``results``.

    Raises:
        ResultError: It lies elsewhere.
    """
    if path.parent != results / record.folder:
        raise ResultError(
            f"{path}: name, domain, split, subset or seed: the record says it belongs in"
            f" {visible(str(record.folder))}; move its folder there, or delete it"
        )


def write_record(results: Path, record: RunRecord) -> Path:
    """Writes a record to its folder under ``results``, whole or not at all."""
    path = results / record.folder / RECORD
    write_json(path, record.model_dump(mode="json"))
    return path


def find_records(results: Path) -> Iterator[Path]:
    """Yields the paths of all records under ``results``, in order."""
    for path in sorted(results.glob(f"*/*/*/seed*/{RECORD}")):
        if path.relative_to(results).parts[0] not in RESERVED:
            yield path


def suites_in(results: Path) -> list[str]:
    """Returns the names of the suites that the records under ``results`` are of, in order.

    A file that is not a valid record counts as the default suite's, whose reader reports it.
    """
    found = []
    for path in find_records(results):
        try:
            value = read_json(path)
        except ResultError:
            value = None
        suite = value.get("suite") if isinstance(value, dict) else None
        found.append(suite if isinstance(suite, str) else DEFAULT.name)
    return list(dict.fromkeys(found))
