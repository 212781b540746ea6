"""Names of image files: their parts, and what makes two spellings of a name one."""

import re
import unicodedata

_BROKEN = re.compile("\xe2[^\x00-\x7f]{2}|[\xc2-\xdf\xe2-\xff][^\x00-\x7f]")


def last_part(name: str) -> str:
    """Returns a path's file name."""
    return name.rsplit("/", 1)[-1]


def last_two(name: str) -> str:
    """Returns a path's folder and file name."""
    return "/".join(name.rsplit("/", 2)[-2:])


def archive_stem(name: str) -> str:
    """Returns an archive's file name without ``.tgz``, ``.tar.gz`` or ``.tar``."""
    return last_part(name).removesuffix(".tgz").removesuffix(".gz").removesuffix(".tar")


def mend(name: str) -> str:
    """Mends accents: UTF-8 that was read as Latin-1 (or Windows-1252) and perhaps lower-cased."""
    name = unicodedata.normalize("NFC", name)
    return unicodedata.normalize("NFC", _BROKEN.sub(_mended, name)).lower()


def _mended(match: re.Match[str]) -> str:
    # Lower-casing turned the first of two or three bytes, C3 for instance, into E3.
    first, rest = match[0][0], match[0][1:]
    for start in (first, first.upper()):
        for coding in ("latin-1", "cp1252"):
            try:
                return (start + rest).encode(coding).decode()
            except UnicodeError:
                continue
    return match[0]
