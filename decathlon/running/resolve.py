"""From a configuration to checked runs, one for each method."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from decathlon.common.errors import UsageError, nearest
from decathlon.data.reading.store import Store, open_store
from decathlon.method.code import code_of
from decathlon.method.recipe import FIELDS, apply, parse_settings
from decathlon.method.registry import about, find, probes, registered
from decathlon.models import networks
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source, read_source
from decathlon.results.published import in_table_order
from decathlon.running.config import RunConfig, split_source
from decathlon.running.run import Run
from decathlon.suites.base import Suite

ALL = "all"
"""In the place of a method's name: every registered one."""


def methods_named(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the methods that are named, each once.

    Args:
        names: Registered names, or ``all`` for every one there is.

    Raises:
        UsageError: One is not registered; the nearest is suggested. Or it is a probe.
    """
    if ALL in names:
        return tuple(registered())
    for name in names:
        about(name)
        if name in probes():
            raise UsageError(
                f"'{name}' is not trained but fitted to features: use 'decathlon probe'"
            )
    return tuple(dict.fromkeys(names))


def resolve(config: RunConfig, refused: Callable[[str], None] | None = None) -> list[Run]:
    """Checks what a user asked for and makes it one run a method, in the order given.

    Args:
        config: What was asked for.
        refused: Of all methods; called with a note on those that refuse to start from their
            source, which are left out. The others are in the order of the suite's table, those
            that evaluate another's network last. None if methods were named: a refusal is an
            error.

    Raises:
        UsageError: Something named is not known or does not fit; a setting has to fit every
            method; no method can start from its source.
        DataError: The data or source weights are missing or damaged.
    """
    store = open_store(config.data)
    if config.name is not None and len(config.methods) > 1:
        raise UsageError(
            f"--name '{config.name}' cannot be the name of {len(config.methods)} methods; leave it"
            " out, and each has its own, or run one at a time"
        )
    common, own = _source_paths(config)
    sources = {path: read_source(path) for path in dict.fromkeys((*own.values(), common)) if path}
    runs, errors, refusals = [], dict[str, UsageError](), dict[str, list[str]]()
    methods = config.methods if refused is None else in_table_order(config.methods, store.suite)
    for method in methods:
        try:
            path = own.get(method) or own.get(find(method).trained_by) or common
            source = sources[path] if path else None
            if reason := _refusal(config, method, source):
                if refused is None:
                    raise UsageError(f"method '{method}': {reason}")
                refusals.setdefault(reason, []).append(method)
            else:
                runs.append(_resolve_one(config, method, store, source))
        except UsageError as error:
            errors[method] = error
    notes = [f"left out: {', '.join(those)}: {reason}" for reason, those in refusals.items()]
    if errors:
        raise _unfit(errors, [run.method_name for run in runs])
    if not runs:
        raise UsageError("\n".join(["no method can start from its source", *notes]))
    if refused is not None:
        runs.sort(key=lambda run: run.trainer is not None)
        for note in notes:
            refused(note)
    return runs


def vary(run: Run, configs: Sequence[RunConfig]) -> list[Run]:
    """Returns runs of the same method, data and source with other configurations.

    Args:
        run: What :func:`resolve` returned.
        configs: Those of the new runs, which may differ in anything else.

    Raises:
        UsageError: A setting does not fit.
    """
    source = run.source if run.source.path is not None else None
    return [_resolve_one(config, run.method_name, run.store, source) for config in configs]


def _refusal(config: RunConfig, method: str, source: Source | None) -> str:
    """Returns why a method, or the one that trains its network, cannot be run from a source."""
    kind = find(method)
    if config.routing and not kind.routes_images:
        return "decides no block's path for each image, so --routing has nothing to change"
    if source is None:
        return ""
    return kind.refusal(source) or (
        find(kind.trained_by).refusal(source) if kind.trained_by else ""
    )


def _resolve_one(config: RunConfig, method: str, store: Store, source: Source | None) -> Run:
    kind, trainer = find(method), None
    if trained_by := kind.trained_by or (method if config.routing else ""):
        if find(trained_by).trained_by:
            raise UsageError(
                f"method '{method}' evaluates the network of '{trained_by}', which trains none"
            )
        asked = replace(config, name=config.of, of=None, force=False, routing=None, routes=1)
        trainer = _resolve_one(asked, trained_by, store, source)
    settings = parse_settings(config.settings)
    # A method that starts from nothing takes the width of its network as a setting.
    width = settings.pop("width", 1.0) if source is None and not kind.needs_source else None
    recipe = apply(kind.recipes, settings, f"method '{method}'", store.suite)
    own = replace(
        config,
        methods=(method,),
        sources=(str(source.path),) if source is not None else (),
        domains=tuple(dict.fromkeys(config.domains or store.domains)),
        seeds=tuple(dict.fromkeys(config.seeds)),
    )
    source = source or _untrained(method, width, store.suite)
    return Run(own, kind(recipe), source, store, code_of(method), trainer)


def _untrained(method: str, width: Any, suite: Suite) -> Source:
    """Returns the suite's network without weights, for a method that needs none.

    Raises:
        UsageError: The method needs weights, or the width is no width.
    """
    if width is None:
        made = "'decathlon pretrain' or " if suite.source else ""
        raise UsageError(
            f"method '{method}' starts from a source network: name it with --source"
            f" (made by {made}'decathlon import-weights')"
        )
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0.05 <= width <= 32:
        raise UsageError(f"--set width={width}: write a number from 0.05 to 32")
    name = suite.network if suite.network in networks.registered() else Architecture.name
    return Source(Architecture(name, float(width)), 1)


def _source_paths(config: RunConfig) -> tuple[Path | None, dict[str, Path]]:
    """Returns the weights file of all methods, and those of single ones by name."""
    common: Path | None = None
    own: dict[str, Path] = {}
    for text in config.sources:
        method, path = split_source(text)
        if method and method not in config.methods:
            raise UsageError(
                f"--source {text}: '{method}' is not among the methods of this run"
                f"{nearest(method, config.methods)}"
            )
        if method:
            own[method] = path
        elif common is not None:
            raise UsageError(
                f"--source {text}: there is --source {common} already; for one method"
                " write --source METHOD=FILE"
            )
        else:
            common = path
    return common, own


def _unfit(errors: dict[str, UsageError], fit: Sequence[str]) -> UsageError:
    """Says which of several methods cannot be run as asked, and what can be done."""
    first = next(iter(errors.values()))
    if len(errors) + len(fit) == 1:
        return first
    reasons: dict[str, list[str]] = {}
    for method, error in errors.items():
        said = " ".join(str(error).partition(FIELDS)[0].split())
        reason = re.sub(rf"^method '{re.escape(method)}':? ", "", said)
        reasons.setdefault(reason, []).append(method)
    lines = [f"  {', '.join(methods)}: {reason}" for reason, methods in reasons.items()]
    rest = f" These could: {', '.join(fit)}." if fit else ""
    return UsageError(
        f"{len(errors)} of {len(errors) + len(fit)} methods cannot be run as asked:\n"
        + "\n".join(lines)
        + "\n--set and --source hold for every method of a run (--source METHOD=FILE for one)."
        + f"{rest} Run the others apart"
    )
