"""The command that begins a method of the user's own: new-method."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from decathlon.common.text import plural, visible


def new_method(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of the method, such as my-method: lower-case letters, digits and hyphens.",
            show_default=False,
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir", help="Folder to write, new or empty (default: ./NAME).", readable=False
        ),
    ] = None,
) -> None:
    """Write a package with a method of your own, its tests and its CI, ready to install.

    The method in it works as it comes: change it step by step. docs/your-method.md explains how.
    """
    from decathlon.method.package import write_package

    place = Path(name) if folder is None else folder
    files = write_package(name, place)
    print(f"{visible(str(place))}: {plural(len(files), 'file')}")
    for file in files:
        print(f"  {file}")
    print(
        "install it and run its tests:"
        f"\n  cd {visible(shlex.quote(str(place)))}"
        '\n  pip install -e ".[test]"'
        "\n  python -m pytest"
    )
