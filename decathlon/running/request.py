"""From names, paths and settings to checked runs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from decathlon.common.errors import UsageError, nearest
from decathlon.common.files import CHECKPOINT_SECONDS
from decathlon.data.reading.store import Store, open_store
from decathlon.method.code import code_of
from decathlon.method.recipe import apply, parse_settings
from decathlon.method.registry import about, find, registered
from decathlon.models.resnet import Architecture
from decathlon.models.weights import Source, read_source
from decathlon.results.published import in_table_order
from decathlon.running.plan import Run
from decathlon.training.device import Compute

ALL = "all"
"""In the place of a method's name: every registered one."""


@dataclass(frozen=True)
class Order:
    """What a user asked for, in plain values, so that it can be sent to other machines.

    Attributes:
        methods: Registered names.
        sources: Weights files; see :func:`requests`.
        data: The data folder.
        results: RESULTS.
        domains: Domains; none for all that are prepared.
        split: ``val`` or ``test``.
        seeds: Seeds.
        name: Name in the results, or None for the method's.
        settings: ``field=value`` arguments.
        compute: Device, precision and threads.
        force: Run again what is finished.
        checkpoint_seconds: Seconds between two checkpoints.
        checkpoint_steps: Steps after which there is one at the latest; 0 for no such rule.
    """

    methods: tuple[str, ...]
    sources: tuple[str, ...]
    data: Path
    results: Path
    domains: tuple[str, ...]
    split: str
    seeds: tuple[int, ...]
    name: str | None
    settings: tuple[str, ...]
    compute: Compute
    force: bool
    checkpoint_seconds: float
    checkpoint_steps: int

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values; paths are absolute."""
        folders = {"data": str(self.data.absolute()), "results": str(self.results.absolute())}
        sources = [_absolute(text) for text in self.sources]
        return {**asdict(self), **folders, "sources": sources}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Order":
        """Reads what :meth:`as_json` returned."""
        lists = {key: tuple(item) for key, item in value.items() if isinstance(item, list)}
        folders = {key: Path(value[key]) for key in ("data", "results")}
        return cls(**{**value, **lists, **folders, "compute": Compute(**value["compute"])})

    def runs(self) -> list[Run]:
        """Returns one run a method; see :func:`requests`."""
        return requests(
            self.methods,
            sources=self.sources,
            name=self.name,
            store=open_store(self.data),
            results=self.results,
            domains=self.domains or None,
            split=self.split,
            seeds=self.seeds,
            settings=self.settings,
            compute=self.compute,
            force=self.force,
            checkpoint_seconds=self.checkpoint_seconds,
            checkpoint_steps=self.checkpoint_steps,
        )


def request(
    method: str,
    *,
    store: Store,
    source: Source | Path | None,
    results: Path,
    domains: Sequence[str] | None,
    split: str,
    seeds: Sequence[int],
    name: str | None,
    settings: Sequence[str],
    compute: Compute,
    force: bool,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int = 0,
) -> Run:
    """Checks what a user asked for and makes it a run.

    Args:
        method: Registered name.
        store: The data.
        source: The source network or its weights file; may be None for methods that start
            from nothing, which then take ``--set width=``.
        results: RESULTS.
        domains: Domains, or None for all that are prepared.
        split: ``val`` or ``test``.
        seeds: Seeds.
        name: Name in the results, or None for the method's.
        settings: ``field=value`` arguments.
        compute: Device and precision.
        force: Run again what is finished.
        checkpoint_seconds: Seconds between two checkpoints.
        checkpoint_steps: Steps after which there is one at the latest; 0 for no such rule.

    Raises:
        UsageError: Something named is not known or does not fit.
        DataError: The source weights are missing or damaged.
    """
    kind = find(method)
    values = parse_settings(settings)
    width = None if kind.needs_source or source is not None else values.pop("width", 1.0)
    recipe = apply(kind.recipes, values, f"method '{method}'")
    return Run(
        kind(recipe),
        method,
        name or method,
        _source(method, source, width),
        store,
        results,
        tuple(dict.fromkeys(domains or store.domains)),
        split,
        tuple(dict.fromkeys(seeds)),
        compute,
        force,
        checkpoint_seconds,
        checkpoint_steps,
        code_of(method),
    )


def _source(method: str, given: Source | Path | None, width: Any) -> Source:
    if isinstance(given, Source):
        return given
    if given is not None:
        return read_source(given)
    if width is None:
        raise UsageError(
            f"method '{method}' starts from a source network: name it with --source"
            " (made by 'decathlon pretrain' or 'decathlon import-weights')"
        )
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0.05 <= width <= 32:
        raise UsageError(f"--set width={width}: write a number from 0.05 to 32")
    return Source(Architecture(width=float(width)), 1)


def chosen(methods: Sequence[str]) -> list[str]:
    """Returns the methods that are named, each once.

    Args:
        methods: Registered names, or ``all`` for every one there is.

    Raises:
        UsageError: One is not registered; the nearest is suggested.
    """
    if ALL in methods:
        return in_table_order(registered())
    for method in methods:
        about(method)
    return list(dict.fromkeys(methods))


def requests(
    methods: Sequence[str], *, sources: Sequence[str], name: str | None, **wishes: Any
) -> list[Run]:
    """Checks what a user asked for of one or several methods.

    Args:
        methods: Registered names.
        sources: A weights file for all of them, and ``METHOD=FILE`` for one.
        name: Name in the results; of one method only.
        wishes: What all have in common, see :func:`request`.

    Returns:
        One run a method, in the order given.

    Raises:
        UsageError: As :func:`request`; a setting has to fit every method.
        DataError: Source weights are missing or damaged.
    """
    if name is not None and len(methods) > 1:
        raise UsageError(
            f"--name '{name}' cannot be the name of {len(methods)} methods; leave it out, and"
            " each has its own, or run one at a time"
        )
    paths = _sources(sources, methods)
    read = {path: read_source(path) for path in dict.fromkeys(paths.values()) if path is not None}
    runs, errors = [], {}
    for method in methods:
        path = paths[method]
        source = None if path is None else read[path]
        try:
            runs.append(request(method, source=source, name=name, **wishes))
        except UsageError as error:
            errors[method] = error
    if errors:
        raise _unfit(errors, [run.method_name for run in runs])
    return runs


def _sources(given: Iterable[str], methods: Sequence[str]) -> dict[str, Path | None]:
    """Returns the weights file of each method, from FILE and METHOD=FILE arguments."""
    common: Path | None = None
    own: dict[str, Path] = {}
    for text in given:
        method, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            if common is not None:
                raise UsageError(
                    f"--source {text}: there is --source {common} already; for one method"
                    " write --source METHOD=FILE"
                )
            common = Path(text)
        elif method not in methods:
            raise UsageError(
                f"--source {text}: '{method}' is not among the methods of this run"
                f"{nearest(method, methods)}"
            )
        else:
            own[method] = Path(path)
    return {method: own.get(method, common) for method in methods}


def _absolute(text: str) -> str:
    """Makes the path in FILE or METHOD=FILE absolute."""
    method, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        return str(Path(text).absolute())
    return f"{method}={Path(path).absolute()}"


def _unfit(errors: dict[str, UsageError], fit: Sequence[str]) -> UsageError:
    """Says of several methods which cannot be run as asked, and what can be done."""
    first = next(iter(errors.values()))
    if len(errors) + len(fit) == 1:
        return first
    reasons: dict[str, list[str]] = {}
    for method, error in errors.items():
        reason = str(error).splitlines()[0].removeprefix(f"method '{method}' ")
        reasons.setdefault(reason, []).append(method)
    lines = [f"  {', '.join(methods)}: {reason}" for reason, methods in reasons.items()]
    rest = f" These could: {', '.join(fit)}." if fit else ""
    return UsageError(
        f"{len(errors)} of {len(errors) + len(fit)} methods cannot be run as asked:\n"
        + "\n".join(lines)
        + "\n--set and --source hold for every method of a run (--source METHOD=FILE for one)."
        + f"{rest} Run the others apart"
    )
