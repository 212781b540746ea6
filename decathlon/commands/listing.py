"""The tables of methods, networks, domains and suites."""

from pathlib import Path

from decathlon.common.errors import UsageError
from decathlon.common.grid import Column, Grid
from decathlon.common.text import visible, visible_lines
from decathlon.method.registry import about, registered
from decathlon.results.published import in_table_order, published_rows
from decathlon.suites.base import SPLITS, Domain, Suite
from decathlon.suites.registry import DEFAULT
from decathlon.suites.registry import find as find_suite
from decathlon.suites.registry import registered as registered_suites

WIDE = 140
"""Characters from which on a table has more columns."""

SIDE = 224
"""Side in pixels at which networks are counted that take images of any size."""


def methods_table(width: int) -> Grid:
    """Lists all registered methods with what their tables printed, importing none.

    Those of Table 3 come first, in its order.

    Args:
        width: Width in characters; wide tables also say what a method does.
    """
    rows = {row.method: row for row in published_rows() if row.table == DEFAULT.table}
    heading = DEFAULT.score.heading if DEFAULT.score else "mean"
    wide = width >= WIDE
    numbers = [Column(heading, right=True) for heading in ("#par", heading, "year")]
    texts = [Column(text, wraps=True, below=True) for text in ("paper", "trains", *["does"] * wide)]
    table = Grid([Column("method"), *numbers, *texts])
    for name in in_table_order(registered()):
        facts, row = about(name), rows.get(name)
        ratio = f"{row.params_ratio:g}x" if row and row.params_ratio else ""
        score = f"{row.score_printed:g}" if row and row.score_printed is not None else ""
        cells = [name, ratio, score, str(facts.year or ""), facts.paper, facts.trains]
        table.add_row(*map(visible, cells + [facts.text] * wide))
    table.caption = f"#par and {heading} as printed in {DEFAULT.table}" + _more(
        "what a method does", wide
    )
    return table


def _more(left_out: str, wide: bool) -> str:
    return "" if wide else f"; terminals of {WIDE} columns also show {left_out}"


def domains_table(data: Path, width: int, suite: Suite | None = None) -> Grid:
    """Lists the domains of a suite, and counts and sizes of what is prepared.

    Args:
        data: The data folder.
        width: Width in characters; wide tables also say what the images are.
        suite: The suite; by default, that of the folder. Of a folder prepared for another one,
            nothing is listed.

    Raises:
        DataError: What is prepared cannot be read.
    """
    from decathlon.data.manifest import read_manifest, suite_of, whole

    manifest = read_manifest(data)
    suite = suite or suite_of(data, manifest)
    official_domains = suite.domains
    prepared = manifest.domains if manifest is not None and manifest.suite == suite.name else {}
    wide = width >= WIDE
    counted = [Column(heading, right=True) for heading in ("classes", *SPLITS, "MB")]
    boxed = any(domain.box_views for domain in official_domains.values())
    counted += [Column("boxes")] * boxed
    texts = [Column("official counts", below=True)]
    texts += [Column("images", wraps=True, below=True)] * wide
    table = Grid([Column("domain"), *counted, Column("state"), *texts])
    totals = dict.fromkeys((*SPLITS, "MB"), 0.0)
    for name in dict.fromkeys([*official_domains, *prepared]):
        official, entry = official_domains.get(name), prepared.get(name)
        numbers, state = dict.fromkeys(totals, "-"), "-"
        if entry is not None:
            counts = {split: float(found.num_images) for split, found in entry.splits.items()}
            size = sum(s.size for found in entry.splits.values() for s in found.shards) / 1e6
            for key, value in {**counts, "MB": size}.items():
                totals[key] += value
                unknown = key in entry.splits and not entry.splits[key].labelled
                numbers[key] = f"{value:.0f}{'*' * unknown}"
            state = "official" if entry.official else "own" if entry.own else "other"
            if not whole(data, entry):
                state = "damaged"
        classes = len(entry.class_names) if entry else official.num_classes if official else 0
        sizes = _official_sizes(official, suite) if official else "-"
        text = [official.text if official else ""] * wide
        boxes = ["yes" if entry and entry.boxes else "-"] * boxed
        cells = [name, str(classes), *numbers.values(), *boxes, state, sizes, *text]
        table.add_row(*map(visible, cells))
    table.ends.add(len(table.rows) - 1)
    sums = [f"{value:.0f}" for value in totals.values()]
    table.add_row("total", "", *sums, *[""] * boxed, "", "", *[""] * wide)
    held = [name for name, entry in prepared.items() if entry.held_out]
    table.caption = (
        f"val: {suite.held_out:.0%} of the training images of each class, fixed by the images'"
        f" names ({', '.join(held)})\n"
    ) * bool(held) + (
        "*: labels unknown, add them with prepare --labels; official: classes, counts and images"
        " are the official ones; other: some are not; own: your own images"
        + _more("what the images are", wide)
    )
    return table


def _official_sizes(domain: Domain, suite: Suite) -> str:
    """Returns the official counts by split; without val if it is held out of train."""
    train, val, test = domain.sizes
    return "/".join(map(str, (train, test) if suite.held_out else (train, val, test)))


def suites_table() -> Grid:
    """Lists all registered suites; the caption says why one cannot be imported."""
    numbers = [Column(heading, right=True) for heading in ("domains", "images", "side")]
    table = Grid([Column("suite"), *numbers, *map(Column, ("network", "score", "package"))])
    notes = ["images of all splits; side: short side of stored images, in pixels"]
    for name, point in registered_suites().items():
        facts = ["-"] * 5
        try:
            suite = find_suite(name)
        except UsageError as error:
            notes.append(str(error))
        else:
            images = sum(sum(domain.sizes) for domain in suite.domains.values())
            score = suite.score.heading if suite.score else "mean accuracy"
            counts = map(str, (len(suite.domains), images, suite.side))
            facts = [*counts, suite.network or "-", score]
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "-"
        table.add_row(*map(visible, [name, *facts, package]))
    table.caption = "\n".join(map(visible_lines, notes))
    return table


def networks_table(name: str | None = None) -> Grid:
    """Lists networks with their sizes; the caption says why one cannot be imported.

    Args:
        name: The only one to list, see :func:`decathlon.models.networks.find`; None for all that
            are registered.

    Raises:
        UsageError: There is none of the name.
    """
    from decathlon.models.networks import Families, find, loaded, registered

    numbers = [Column(heading, right=True) for heading in ("parameters", "GFLOPs")]
    texts = map(Column, ("blocks", "input", "package"))
    table = Grid([Column("network"), *numbers, *texts])
    counted = (
        "parameters: without the head; GFLOPs: 10^9 multiply-adds of convolutions and matrix"
        f" products, for an image of the input's side (any: {SIDE} px)"
    )
    notes = [counted]
    if name is not None:
        find(name)  # an unknown one is no row
    for prefix, point in registered().items():
        if name is not None and prefix != name.partition(":")[0]:
            continue
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "-"
        try:
            shown, many = [name or prefix], loaded(prefix)
            if name is None and isinstance(many, Families):
                notes.append(f"{prefix}:NAME works for all {many.text}")
                shown = [f"{prefix}:{one}" for one in many.examples]
            facts = {one: _sizes(one) for one in shown}
        except UsageError as error:
            if name is not None:
                raise
            notes.append(str(error))
            facts = {prefix: ["-"] * 4}
        for one, cells in facts.items():
            table.add_row(*map(visible, [one, *cells, package]))
    table.caption = "\n".join(map(visible_lines, notes))
    return table


def _sizes(name: str) -> list[str]:
    """Returns the cells on a network: parameters, multiply-adds, blocks and input."""
    import torch

    from decathlon.models.flops import count_flops
    from decathlon.models.networks import Architecture, blaming

    architecture = Architecture(name)
    family = architecture.family
    side = family.input.side if family.input else SIDE
    with torch.device("meta"), torch.no_grad():
        network = architecture.build(1).eval()
        with blaming(name, "computed"):
            flops = count_flops(lambda: network(torch.empty(1, 3, side, side)))
    parts = network.named_parameters()
    parameters = sum(p.numel() for name, p in parts if not name.startswith("head."))
    images = "any"
    if family.input:
        images = f"{side} px only" if family.input.fixed else f"{side} px"
    blocks = "+".join(map(str, family.blocks))
    return [f"{parameters / 1e6:.2f} M", f"{flops / 2e9:.2f}", blocks, images]
