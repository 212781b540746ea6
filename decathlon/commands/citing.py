"""The command that says what to cite: cite."""

import json
from typing import Annotated

import typer

from decathlon.commands.options import Out, check_out
from decathlon.common.errors import check_known
from decathlon.common.output import write_utf8
from decathlon.common.progress import say
from decathlon.common.text import visible, visible_lines

FORMATS = ("bibtex", "text", "json")


def cite(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Methods, probes, domains, suites or networks (default: the Visual Decathlon and"
            " decathlon itself).",
            show_default=False,
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="bibtex, text or json.")] = "bibtex",
    out: Out = None,
) -> None:
    """Print what to cite for methods, domains, suites and networks, each entry once."""
    from decathlon.method.citations import citations

    check_known("format", form, FORMATS)
    check_out(out)
    found, empty = citations(names or ())
    for name in empty:
        say(f"decathlon: {visible(name)}: says nothing to cite")
    if form == "json":
        rows = [
            {
                "key": citation.entry.key,
                "type": citation.entry.kind,
                "names": list(citation.names),
                "fields": citation.entry.fields,
            }
            for citation in found
        ]
        text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    elif form == "text":
        text = "".join(f"{visible(citation.entry.in_words())}\n" for citation in found)
    else:
        text = "\n".join(f"{visible_lines(citation.entry.text)}\n" for citation in found)
    write_utf8(text, out)
