"""Pages of HTML that need nothing but themselves: no network and no library.

Jinja2 escapes every value. A page's own policy allows one style, one script (by their digests) and
images that are part of the page, and nothing else.
"""

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def page(template: str, style: str, script: str = "", **values: Any) -> str:
    """Returns a page of HTML.

    Args:
        template: Its template; all values are escaped.
        style: Names of its style sheets, separated by spaces.
        script: Names of its scripts, separated by spaces; none if empty.
        values: What the template shows.
    """
    look, code = ("".join(map(_own, names.split())) for names in (style, script))
    return rendered(
        template,
        style=Markup(look),
        script=Markup(code),
        style_hash=_digest(look),
        script_hash=_digest(code),
        **values,
    )


def rendered(template: str, **values: Any) -> str:
    """Returns what a template makes of some values, all of which are escaped."""
    return _environment().get_template(template).render(**values)


def image(figure: "Figure", text: str) -> dict[str, str]:
    """Returns a figure as part of a page, with a text that describes it."""
    # Imported here: no other format pays for matplotlib.
    from decathlon.scoring.figures.style import svg

    encoded = base64.b64encode(svg(figure)).decode()
    return {"source": f"data:image/svg+xml;base64,{encoded}", "text": text}


@cache
def _environment() -> Environment:
    return Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_own)
    )


@cache
def _own(name: str) -> str:
    path = resources.files("decathlon.scoring.render").joinpath("templates", name)
    return path.read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
