"""What MkDocs does not find in docs/: the reference, and the pages at the root of the repository.

The command line's page is made from the commands' help, the pages on Python from docstrings.
"""

import json
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from posixpath import relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COPIED = {
    "README.md": "project/readme.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "LICENSE": "project/LICENSE",
}
"""Files outside docs/ and where the handbook has them."""
PROMISED = ROOT / "tests" / "surface.json"
"""Has the Python names that other packages may use, as docs/stability.md promises."""
LINK = re.compile(r"""(?:(?<=\]\()|(?<=src=")|(?<=srcset="))(?!\w+:|#)([^)"#\s]+)""")
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code)")


def commands() -> str:
    """Returns the page on the command line: all commands with the options of their help."""
    import typer
    from typer.cli import get_docs_for_click

    from decathlon.cli import PANELS, app

    root = typer.main.get_command(app)
    context = typer.Context(root, info_name="decathlon")
    parts = ["# Commands", str(root.help), str(root.epilog)]
    for panel, functions in PANELS.items():
        parts.append(f"## {panel}")
        for function in functions:
            name = function.__name__.replace("_", "-")
            command = root.get_command(context, name)
            parts.append(
                get_docs_for_click(obj=command, ctx=context, indent=2, call_prefix="decathlon")
            )
    return "\n\n".join(parts)


def python() -> dict[str, str]:
    """Returns the pages on the promised Python names, by address: one for each module."""
    modules = defaultdict(list)
    for name in json.loads(PROMISED.read_text(encoding="utf-8"))["python"]:
        module, _, member = name.rpartition(".")
        modules[module].append(member)
    return {
        f"reference/{module}.md": f"# {module}\n\n::: {module}\n    options:\n"
        f"      members: {json.dumps(members)}\n"
        for module, members in modules.items()
    }


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and files that are not in docs/."""
    for source, place in COPIED.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    script = HERE / "iframe-worker.js"
    files.append(File.generated(config, f"assets/{script.name}", abs_src_path=str(script)))
    for place, text in {"reference/commands.md": commands(), **python()}.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links to where the handbook has the file, and colours commands as shell."""
    places = {f"docs/{file.src_uri}": file.src_uri for file in files} | COPIED
    sources = {place: source for source, place in places.items()}
    folder = PurePosixPath(sources[page.file.src_uri]).parent

    def target(match: re.Match[str]) -> str:
        source = relpath(folder / match[1], ".")
        return relpath(places.get(source, source), PurePosixPath(page.file.src_uri).parent)

    return re.sub(r"^```console\n(\$ )?", "```bash\n", LINK.sub(target, markdown), flags=re.M)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Takes Sphinx's roles off the names in docstrings."""
    return ROLE.sub("", html)
