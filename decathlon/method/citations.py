"""What to cite for methods, probes, domains, suites and networks, as BibTeX entries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from decathlon import __version__
from decathlon.common import plugins
from decathlon.common.bibtex import Entry, entries
from decathlon.common.errors import UsageError, check_known
from decathlon.method.registry import find, probes, registered
from decathlon.suites.base import Suite
from decathlon.suites.registry import DEFAULT
from decathlon.suites.registry import find as find_suite
from decathlon.suites.registry import registered as registered_suites

OURS = "decathlon"
"""Name of the program itself."""
DECATHLON = f"""\
@software{{decathlon,
  author = {{{{The decathlon authors}}}},
  title = {{decathlon: benchmarks, leaderboards and methods of fine-tuning}},
  version = {{{__version__}}},
  year = {{2026}},
}}
"""
"""The program itself; CITATION.cff says the same."""


@dataclass(frozen=True)
class Citation:
    """An entry and what it is cited for.

    Attributes:
        entry: The entry.
        names: Names that were asked for, in order.
    """

    entry: Entry
    names: tuple[str, ...]


def citations(names: Sequence[str]) -> tuple[list[Citation], list[str]]:
    """Returns what to cite, each entry once, in the order of their keys.

    Args:
        names: Names of methods, probes, domains, suites or networks, or of the program; a name of
            several things stands for all of them. None of them: the default suite and the program.

    Returns:
        What to cite, and the names that say nothing to cite.

    Raises:
        UsageError: There is nothing of a name, something of it cannot be imported, or what it says
            is not BibTeX.
    """
    found: dict[str, Entry] = {}
    cited_for: dict[str, list[str]] = {}
    empty = []
    suites = dict(_suites())
    for name in dict.fromkeys(names or (DEFAULT.name, OURS)):
        own = [entry for text in _texts(name, suites) for entry in _read(name, text)]
        if not own:
            empty.append(name)
        for entry in own:
            found.setdefault(entry.key, entry)
            if name not in cited_for.setdefault(entry.key, []):
                cited_for[entry.key].append(name)
    return [Citation(found[key], tuple(cited_for[key])) for key in sorted(found)], empty


def _suites() -> Iterator[tuple[str, Suite]]:
    """Yields the suites that can be imported; naming another one tells why it cannot."""
    for name in registered_suites():
        try:
            yield name, find_suite(name)
        except UsageError:
            continue


def _texts(name: str, suites: dict[str, Suite]) -> list[str]:
    """Returns what everything of a name asks to be cited for."""
    methods, networks = registered() | probes(), plugins.registered("network")
    domains = [d for suite in suites.values() for d in suite.domains.values()]
    prefix = name.partition(":")[0]
    known = [OURS, *methods, *registered_suites(), *(d.name for d in domains), *networks]
    if prefix not in networks:
        check_known("name", name, list(dict.fromkeys(known)))
    texts = [DECATHLON] * (name == OURS)
    texts += [domain.bibtex for domain in domains if domain.name == name]
    if name in registered_suites():
        texts.append(find_suite(name).bibtex)
    if name in methods:
        texts.append(find(name).bibtex)
    if prefix in networks:
        texts.append(_of_network(name))
    return texts


def _of_network(name: str) -> str:
    """Returns what a network asks to be cited for, or all networks of a prefix."""
    from decathlon.models.networks import Families, loaded
    from decathlon.models.networks import find as find_network

    prefix = name.partition(":")[0]
    found = loaded(prefix)
    if isinstance(found, Families):
        return found.bibtex + (find_network(name).bibtex if name != prefix else "")
    return find_network(name).bibtex


def _read(name: str, text: str) -> list[Entry]:
    try:
        return entries(text)
    except ValueError as error:
        raise UsageError(
            f"'{name}': its 'bibtex' is not BibTeX: {error}; tell the authors of its package"
        ) from None
