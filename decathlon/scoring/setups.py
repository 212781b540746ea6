"""Setups: what the records of one row have in common.

A row is one name run in one way: one method, one source network, one recipe, one version
of the method's code, one size of the training set, one crop of the domains that have bounding
boxes, one control of routing, one way to choose settings. Records of one name that differ in any
of these become rows of their own, and their labels say what differs.

* Draws of a subset of the training images are repetitions, as seeds are. Sizes of subsets are
  groups of the board, and the labels of their rows say the size even if there is one only.

* Records where nothing was trained (the source network on its own domain) have no recipe.
  They belong to every row that starts from the same source. A method that starts from no
  source takes them from a network of its own size.
* Settings that were chosen on val are no part of a setup, how they were chosen is: each domain
  may have its own.
* Records of format 1 name neither code nor network. They join the records that do, as long
  as those agree with each other; else they are a row of their own.

A setup does not include what changes a score by no more than rounding (threads, device,
versions of libraries); the HTML page lists it. Precision, number of processes and training
data (a domain may have no val to train on) are not part of it either, but a note names the
rows in which they differ.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from decathlon.common.files import digest_of
from decathlon.common.text import plural, visible
from decathlon.results.controls import Routing
from decathlon.results.records import Code, RunRecord
from decathlon.results.selection import Selection, before, procedure
from decathlon.suites.base import Suite
from decathlon.suites.subset import Subset

SHORT = 6
"""Hex digits that stand for a digest, unless two of them begin alike."""
MAX_FACTS = 3
"""Facts that a label holds before it is cut to those that tell the rows apart."""
MAX_VALUE = 24
"""Characters of a value in a label."""
_UNSET = object()

ALWAYS = ("method", "subset", "source", "network", "unit", "crop")
"""Kinds of facts that setups have where nothing was trained too."""

Key = tuple[str, str]
"""A fact's kind and name: ``("recipe", "epochs")``."""


@dataclass(frozen=True, eq=False)
class Setup:
    """How the records of a row were made.

    Attributes:
        method: Registered name of the method.
        source: SHA-256 of the source network's weights, or None where none were used.
        network: Architecture of the source network, or None where no record names it.
        unit: Bits of a plain network of that width, which tells widths apart without a name.
        recipe: Settings of the method, without those that were chosen on val; None where nothing
            was trained.
        source_domain: What the method does on the source domain.
        code: Code of the method, or None where no record names it.
        subset: Size of the subset of the training images, such as ``10shot``; empty for all.
        crop: What images are cut from, in domains that have bounding boxes.
        routing: The control of routing that was evaluated, and whose networks; None if there is
            none.
        selection: How settings were chosen, without the outcome; None if all were given.
        chosen: The chosen settings by domain.
    """

    method: str
    source: str | None
    network: dict[str, Any] | None
    unit: int
    recipe: dict[str, Any] | None
    source_domain: str
    code: Code | None
    subset: str = ""
    crop: str = "image"
    routing: Routing | None = None
    selection: Selection | None = None
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def facts(self) -> dict[Key, Any]:
        """All that can differ between two setups, what matters most first."""
        found: dict[Key, Any] = {("method", "method"): self.method}
        found["subset", "subset"] = self.subset
        found["source", "source"] = self.source
        for name, value in (self.network or {}).items():
            found["network", "network" if name == "name" else name] = value
        found["unit", "unit"] = self.unit
        found["crop", "crop"] = self.crop
        if self.recipe is not None:
            found |= {("recipe", name): value for name, value in _flat(self.recipe).items()}
            if self.routing is not None:
                found |= {("routing", key): v for key, v in self.routing.model_dump().items()}
            if tuning := procedure(self.selection):
                found |= {("selection", key): value for key, value in tuning.items()}
            found["source domain", "source domain"] = self.source_domain
            found["code", "code"] = self.code.sha256 if self.code else None
        return found

    def evaluates(self, trained: "Setup") -> bool:
        """Returns whether a control's networks can be those of a setup: trained the same way."""
        ours, theirs = (
            {key: value for key, value in one.facts.items() if key[0] not in ("subset", "routing")}
            for one in (self, trained)
        )
        return ours == theirs


def _flat(value: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Returns ``{"weight_decay.dtd": 0.002}`` for ``{"weight_decay": {"dtd": 0.002}}``."""
    found: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            found |= _flat(inner, f"{path}{name}.")
        else:
            found[f"{path}{name}"] = inner
    return dict(sorted(found.items(), key=lambda item: item[0] != "protocol"))


def source_in_words(setup: Setup, sources: Sequence[str | None]) -> str:
    """Returns a setup's source in words: ``"source 3fa4c1 (resnet26, width 0.5)"``."""
    if setup.network is None:
        network = f"network not recorded, {setup.unit // 32:,} parameters"
    else:
        name, width, adapters = (setup.network.get(key) for key in ("name", "width", "adapters"))
        network = f"{name}, width {width:g}" if isinstance(width, int | float) else f"{name}"
        network += "" if adapters in (None, "none") else f", {adapters} adapters"
    if setup.source is None:
        return f"no source ({network})"
    return f"source {short(setup.source, sources)} ({network})"


def short(digest: str, among: Iterable[str | None]) -> str:
    """Returns the first digits of a digest, as many as tell it from the others."""
    others = {other for other in among if other is not None and other != digest}
    length = SHORT
    while length < len(digest) and any(o.startswith(digest[:length]) for o in others):
        length += 1
    return digest[:length]


def size_of(record: RunRecord) -> str:
    """Returns the size of a record's subset of the training images, whatever the draw."""
    return Subset.named(record.subset).size if record.subset else ""


def by_setup(records: Sequence[RunRecord], suite: Suite) -> list[tuple[Setup, list[RunRecord]]]:
    """Splits the records of one name by setup, the setup with the most domains first.

    Args:
        records: Of one suite.
        suite: It says which domains can be cut to bounding boxes.
    """
    boxed = [name for name, domain in suite.domains.items() if domain.box_views]
    groups: dict[str, list[RunRecord]] = {}
    for r in (r for r in records if r.trained):
        identity: list[Any] = [r.method, r.source, r.parameters.unit, r.source_domain, size_of(r)]
        identity += [before(r.selection, r.recipe), procedure(r.selection)]
        identity += [r.routing and r.routing.model_dump()]
        groups.setdefault(digest_of(identity), []).append(r)
    found = [part for group in groups.values() for part in _by_code(group, boxed)]
    kept = [record for record in records if not record.trained]
    found = [joined for part in found for joined in _with_kept(part, kept, boxed)]
    taken = {id(record) for _, part in found for record in part}
    alone: dict[str, list[RunRecord]] = {}
    for record in (r for r in kept if id(r) not in taken):
        identity = [record.source, record.parameters.unit, size_of(record), record.crop]
        alone.setdefault(digest_of(identity), []).append(record)
    found += [(_setup(part), part) for part in alone.values()]
    return sorted(found, key=lambda pair: (-len({r.domain for r in pair[1]}), -len(pair[1])))


def _by_code(
    records: list[RunRecord], boxed: Collection[str]
) -> list[tuple[Setup, list[RunRecord]]]:
    """Splits by code, network and crop; records that these say nothing of join the others."""
    codes = {r.code.sha256 for r in records if r.code}
    networks = {digest_of(r.network) for r in records if r.network is not None}
    crops = {r.crop for r in records if r.domain in boxed}
    parts: dict[tuple[str, str, str], list[RunRecord]] = {}
    for record in records:
        code = record.code.sha256 if record.code and len(codes) > 1 else ""
        named = record.network is not None and len(networks) > 1
        network = digest_of(record.network) if named else ""
        crop = record.crop if len(crops) > 1 else ""
        parts.setdefault((code, network, crop), []).append(record)
    return [(_setup(part), part) for part in parts.values()]


def _setup(records: list[RunRecord]) -> Setup:
    first = records[0]
    return Setup(
        method=first.method,
        source=first.source,
        network=next((r.network for r in records if r.network is not None), None),
        unit=first.parameters.unit,
        recipe=before(first.selection, first.recipe) if first.trained else None,
        source_domain=first.source_domain,
        code=next((r.code for r in records if r.code is not None), None),
        subset=size_of(first),
        crop="box" if any(r.crop == "box" for r in records) else "image",
        routing=first.routing,
        selection=first.selection and first.selection.model_copy(update={"chosen": {}}),
        chosen={r.domain: r.selection.chosen for r in records if r.selection},
    )


def _with_kept(
    part: tuple[Setup, list[RunRecord]], kept: list[RunRecord], boxed: Collection[str]
) -> list[tuple[Setup, list[RunRecord]]]:
    """Adds the records where nothing was trained, of one source network only."""
    setup, records = part
    by_source: dict[str | None, list[RunRecord]] = {}
    for record in kept:
        same_unit = record.parameters.unit == setup.unit
        fits = same_unit if setup.source is None else record.source == setup.source
        if fits and (record.crop == setup.crop or record.domain not in boxed):
            by_source.setdefault(record.source, []).append(record)
    return [
        (replace(setup, source=source, network=setup.network or own[0].network), [*records, *own])
        for source, own in by_source.items()
    ] or [part]


def row_labels(name: str, setups: Sequence[Setup], sources: Iterable[str | None]) -> list[str]:
    """Returns a label for each setup of a name: the name alone if it is the only one of all images.

    Labels of setups with chosen settings say so.

    Args:
        name: The name.
        setups: Its setups.
        sources: All sources whose digests have to be told apart.

    Example:
        ``fine-tuning [source 3fa4c1, epochs 1]``
    """
    found: dict[Setup, str] = {}
    known = list(sources)
    for size in dict.fromkeys(setup.subset for setup in setups):
        same = [setup for setup in setups if setup.subset == size]
        keys = _differing(same)
        chosen = keys if len(keys) <= MAX_FACTS else _enough(same, keys)
        more = [plural(len(keys) - len(chosen), "more setting")] if len(keys) > len(chosen) else []
        for place, one in enumerate(same, start=1):
            facts = _facts_of(one, chosen, known, MAX_VALUE) + more if len(same) > 1 else []
            if len(same) > 1 and not facts:
                facts = [f"setup {place}"]
            tuned = [str(one.selection)] if one.selection else []
            text = ", ".join([*filter(None, [size]), *tuned, *facts])
            found[one] = f"{name} [{text}]" if text else name
    return [found[setup] for setup in setups]


def all_differing(setups: Sequence[Setup], sources: Iterable[str | None]) -> list[str]:
    """Returns in words, for each of several setups, everything in which they differ."""
    keys, known = _differing(setups), list(sources)
    return [", ".join(_facts_of(setup, keys, known, 4 * MAX_VALUE)) for setup in setups]


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _differing(setups: Sequence[Setup]) -> list[Key]:
    """Returns the facts in which setups differ; those that follow from another are left out."""
    trained = [setup.facts for setup in setups if setup.recipe is not None]
    facts = [setup.facts for setup in setups]
    keys = dict.fromkeys(key for one in facts for key in one)
    found = []
    for key in keys:
        of = facts if key[0] in ALWAYS else trained
        if len({_text(one[key]) if key in one else _UNSET for one in of}) > 1:
            found.append(key)
    # A source's file holds its network, and a network has a size: one of them will do.
    for implied in (("network", "unit"), ("unit",)):
        fewer = [key for key in found if key[0] not in implied]
        if len(_classes(setups, fewer)) == len(_classes(setups, found)):
            return fewer
    return found


def _classes(setups: Sequence[Setup], keys: Sequence[Key]) -> set[tuple[str, ...]]:
    """Returns the combinations of some facts that setups have."""
    return {
        tuple(_text(facts[key]) if key in facts else "" for key in keys)
        for facts in (setup.facts for setup in setups)
    }


def _enough(setups: Sequence[Setup], keys: Sequence[Key]) -> list[Key]:
    """Returns the first of some facts that together tell setups apart."""
    chosen: list[Key] = []
    for key in keys:
        if len(_classes(setups, [*chosen, key])) > len(_classes(setups, chosen)):
            chosen.append(key)
    return chosen


def _facts_of(
    setup: Setup, keys: Sequence[Key], sources: Sequence[str | None], width: int
) -> list[str]:
    """Returns some facts of a setup in words."""
    facts = setup.facts
    texts = []
    for kind, name in keys:
        value = facts.get((kind, name))
        if kind == "source":
            texts.append(f"source {short(value, sources)}" if value else "no source")
        elif kind == "code" and setup.recipe is not None:
            texts.append(f"code {value[:SHORT]}" if value else "code not recorded")
        elif kind == "subset":
            texts.append(setup.subset or "all images")
        elif kind == "unit":
            texts.append(f"{setup.unit // 32:,} parameters")
        elif (kind, name) in facts:
            text = value if isinstance(value, str) else _text(value)
            cut = text if len(text) <= width else f"{text[: width - 10]}...{digest_of(value)[:6]}"
            texts.append(f"{name} {cut}")
        elif setup.recipe is not None:
            texts.append(f"no {name}")
    texts = [visible(text) for text in texts]  # settings of strangers may have any name
    return texts if setup.recipe is not None else [*texts, "nothing trained"]


def unlike(one: Setup, other: Setup) -> tuple[str, ...]:
    """Returns what beside the method two setups have another of: ``source network``, ``crop``.

    A setup without a source has another one if its network has another size.
    """
    both = one.source and other.source
    sources = one.source != other.source if both else one.unit != other.unit
    return ("source network",) * sources + ("crop",) * (one.crop != other.crop)


def source_groups(found: Sequence[Setup]) -> dict[Setup, int]:
    """Numbers the groups of setups whose scores can be compared: 0, 1, ... by appearance.

    Setups of one source are a group. Setups without a source are groups of networks of one
    size; they join the only source there is if its network has their size.
    """
    units = {setup.source: setup.unit for setup in found if setup.source}
    keys: dict[Setup, tuple[bool, str]] = {}
    for setup in found:
        source = setup.source
        if source is None and list(units.values()) == [setup.unit]:
            source = next(iter(units))
        keys[setup] = (source is None, source or str(setup.unit))
    distinct = sorted(dict.fromkeys(keys.values()), key=lambda key: key[0])
    return {setup: distinct.index(key) for setup, key in keys.items()}
