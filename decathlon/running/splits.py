"""Which splits of a domain a run trains on."""

from collections.abc import Iterable

from decathlon.data.reading.store import Store


def trained_on(store: Store, domain: str, split: str) -> tuple[str, ...]:
    """Returns the splits of a domain that are trained on: those of the suite that are there.

    Args:
        store: The data.
        domain: A prepared domain, which has a train split.
        split: The split that is reported.
    """
    there = store.domains[domain].splits
    return tuple(s for s in store.suite.trained_on[split] if s == "train" or s in there)


def notes_on_splits(store: Store, domains: Iterable[str], split: str) -> list[str]:
    """Returns a note on the domains that are trained on less than their suite asks for."""
    short = [
        name
        for name in domains
        if name in store.domains
        and split in store.domains[name].splits
        and trained_on(store, name, split) != store.suite.trained_on[split]
    ]
    return [f"{', '.join(short)}: no val split, so trained on train alone"] if short else []
