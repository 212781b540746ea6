r"""Text for people: escapes for each place that shows it, counts, durations and sizes.

Names and labels come from files that anyone may have written. Every format escapes them for
itself; what no format can show (terminal escapes, other control characters, marks that turn the
direction of writing) is written as its escape, such as ``\x1b``.
"""

import re
import unicodedata
from urllib.parse import urlsplit

CONTROL = "[\x00-\x1f\x7f-\x9f\ud800-\udfff]"
"""Pattern of the characters that no file name may have: control characters and surrogates."""
_CONTROL = re.compile(CONTROL)
_SIMILAR = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—−", "-"),
        **dict.fromkeys("‘’‚", "'"),
        **dict.fromkeys("“”„", '"'),
        **dict.fromkeys("•·∙", "*"),
        "×": "x",
        "ß": "ss",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "æ": "ae",
        "Æ": "AE",
    }
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    **{c: "{" + c + "}" for c in "<>|\"'`[]"},
}


def plural(count: int, noun: str) -> str:
    """Returns a count with its noun: ``"1 trial"``, ``"3 trials"``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Returns a duration in sentences, in one or two units: ``"50 s"``, ``"3 h 20 min"``."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def cell_duration(seconds: float) -> str:
    """Returns a duration for a cell of a table: ``"12s"``, ``"3m20s"``, ``"2h05m"``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest}s"
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def megabytes(size: float) -> str:
    """Returns a number of bytes in whole megabytes: ``"6,535 MB"``."""
    return f"{size / 1e6:,.0f} MB"


def file_size(size: float) -> str:
    """Returns a number of bytes in the unit that suits it: ``"62.5 MB"``, ``"6.5 GB"``."""
    if size < 1e5:
        return f"{size / 1e3:,.1f} kB"
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def visible(text: str) -> str:
    r"""Escapes the characters that act on a display, for terminals, tables and pages.

    Example:
        >>> visible("a\x1b[31mb\n")
        'a\\x1b[31mb\\n'
    """
    return "".join(_escaped(c) if _acts(c) else c for c in text)


def visible_lines(text: str) -> str:
    """Does the same for text of several lines and keeps its line breaks."""
    return "\n".join(visible(line) for line in text.split("\n"))


def printable(text: str) -> bool:
    """Returns whether a name can be written as UTF-8 and has no control characters."""
    return _CONTROL.search(text) is None


def printable_name(name: bytes) -> str:
    r"""Returns a file name as text, what :func:`printable` refuses escaped.

    Unlike :func:`visible`, it depends on no version of Unicode: the names are written to files.

    Example:
        >>> printable_name(b"caf\xe9\n")
        'caf\\xe9\\n'
    """
    return _CONTROL.sub(lambda found: _escaped(found[0]), name.decode("utf-8", "backslashreplace"))


def span(pair: tuple[float, float]) -> str:
    """Returns an interval of accuracies in words: ``67.75 to 99.04``."""
    return f"{pair[0]:.2f} to {pair[1]:.2f}"


def is_web_address(text: str) -> bool:
    """Returns whether a text is an address that a page can link to: of http or https, whole."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
    return fits and text.isprintable() and " " not in text


def encodable(text: str) -> str:
    r"""Escapes what UTF-8 cannot hold: bytes of file names that are not UTF-8.

    Example:
        >>> encodable("caf\udce9")
        'caf\\udce9'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def to_ascii(text: str) -> str:
    r"""Writes text in ASCII: accents are dropped, lines become ``-``, ``|`` and ``+``.

    Characters that nothing in ASCII resembles are escaped, as are bytes that are not text.

    Example:
        >>> to_ascii("Café ├─ \u4e2d")
        'Cafe +- \\u4e2d'
    """
    return "".join(map(_similar, text))


def markdown(text: str) -> str:
    """Escapes text for a cell of a Markdown table, HTML included."""
    text = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", text)


def latex(text: str) -> str:
    """Escapes text for LaTeX: special characters, ligatures and optional arguments."""
    return "".join(_LATEX.get(c, c) for c in visible(text))


def spreadsheet(text: str) -> str:
    """Keeps a spreadsheet from taking a cell of text for a formula."""
    text = visible(text)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "'") else text


def _acts(character: str) -> bool:
    return unicodedata.category(character)[0] == "C" or character in "\u2028\u2029"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _similar(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        horizontal = any(word in name for word in ("HORIZONTAL", "LEFT", "RIGHT"))
        vertical = any(word in name for word in ("VERTICAL", "UP", "DOWN"))
        return "+" if horizontal and vertical else "|" if vertical else "-"
    plain = unicodedata.normalize("NFKD", character.translate(_SIMILAR))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return plain.encode("ascii", "backslashreplace").decode("ascii")
