"""Names and labels come from files that anyone may have written.

Every format escapes them for itself; what no format can show (terminal escapes,
other control characters, marks that turn the direction of writing) is spelt out.
"""

import re
import unicodedata


def visible(text: str) -> str:
    r"""Spells out characters that act on a display instead of standing on it.

    Example:
        >>> visible("a\x1b[31mb\n")
        'a\\x1b[31mb\\n'
    """
    return "".join(_spelt(c) if _acts(c) else c for c in text)


def visible_lines(text: str) -> str:
    """Does the same for text of several lines, which stay apart."""
    return "\n".join(visible(line) for line in text.split("\n"))


def _acts(character: str) -> bool:
    return unicodedata.category(character)[0] == "C" or character in "\u2028\u2029"


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def markdown(text: str) -> str:
    """Escapes text for a cell of a Markdown table, HTML included."""
    text = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    **{c: "{" + c + "}" for c in "<>|\"'`[]"},
}


def latex(text: str) -> str:
    """Escapes text for LaTeX: special characters, ligatures and optional arguments."""
    return "".join(_LATEX.get(c, c) for c in visible(text))


def spreadsheet(text: str) -> str:
    """Keeps a spreadsheet from taking a cell of text for a formula."""
    text = visible(text)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "'") else text
