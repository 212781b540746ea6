"""Tables of labels in folders of images: ``metadata.csv`` and ``metadata.jsonl``.

They are those of the layout ``imagefolder`` of Hugging Face's ``datasets``: a row for each image,
``file_name`` relative to the table. Tables without the columns ``file_name`` and ``label`` (of
captions, say) are none of ours.
"""

import csv
import json
import os
import posixpath
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from decathlon.common.errors import DataError
from decathlon.common.text import printable, printable_name

TABLES = ("metadata.csv", "metadata.jsonl")
"""File names of tables."""
_COLUMNS = {"file_name", "label"}
_UNKNOWN = ("", "-1")
"""Labels that stand for none; ``-1`` is Hugging Face's."""


def read_table(path: Path) -> dict[str, str] | None:
    """Reads the label of each file that a table lists; None if it is no table of labels.

    A label is any text, or a whole number, which is taken for text.

    Raises:
        DataError: The table cannot be read; it lists a file twice, one without a label, or one
            outside of its folder.
    """
    found: dict[str, str] = {}
    try:
        for number, row in _rows(path):
            if not row.keys() >= _COLUMNS:
                return None
            where = f"{path}, line {number}"
            name = posixpath.normpath(str(row["file_name"]))
            shown = printable_name(os.fsencode(name))  # a ValueError if no file can be called that
            if name == ".." or name.startswith(("/", "../")):
                raise DataError(f"{where}: '{shown}' is outside of the folder; move it inside")
            if name in found:
                raise DataError(f"{where}: lists '{shown}' again; remove one of the two")
            found[name] = _label(row["label"], f"{where}: '{shown}'")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8; save it as UTF-8") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"{path}: no readable table ({str(error)[:200]}); mend it") from None
    return found or None


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields each row with the number of its last line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                yield reader.line_num, row
            return
        for number, line in enumerate(file, start=1):
            if line.strip():
                value = json.loads(line)
                if not isinstance(value, dict):
                    raise ValueError(f"line {number} is no JSON object")
                yield number, value


def _label(value: object, where: str) -> str:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text in _UNKNOWN:
        raise DataError(f"{where} has no label; add it, or move the image and its row away")
    if not printable(text):
        raise DataError(f"{where} has a label that cannot be printed; give it another")
    return unicodedata.normalize("NFC", text)
