"""The files that preparing makes: whatever else lies beside them is not its to remove."""

import re
from collections.abc import Iterator
from pathlib import Path

from decathlon.data.manifest import FILE

_SHARD = r"(?:train|val|test)(?:-\d{5}-of-\d{5})?\.h5"
_WHOLE = re.compile(_SHARD, re.ASCII)
# What :func:`decathlon.common.files.replacing` adds: host and process.
_REPLACING = r"\..+\.\d+"
_PART = re.compile(
    rf"(?:{_SHARD}(?:\.spill|\.journal|\.laid|{_REPLACING})?|{re.escape(FILE)}{_REPLACING})\.part",
    re.ASCII,
)


def _files(folder: Path, names: re.Pattern[str]) -> Iterator[Path]:
    if folder.is_dir():
        for path in folder.iterdir():
            if names.fullmatch(path.name) and (path.is_file() or path.is_symlink()):
                yield path


def parts(folder: Path) -> Iterator[Path]:
    """Yields the temporary files of a data folder or of a domain's folder."""
    return _files(folder, _PART)


def shards(folder: Path) -> Iterator[Path]:
    """Yields the shards of a domain's folder, listed or not."""
    return _files(folder, _WHOLE)
