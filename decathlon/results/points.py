"""The names in the results of a sweep's points, and back."""

import re
from collections.abc import Mapping
from typing import Any

from decathlon.common.files import digest_of
from decathlon.results.records import LONGEST
from decathlon.results.selection import value_text

_DIGITS = 12


def point_name(base: str, point: Mapping[str, Any]) -> str:
    """Returns the name of a point in the results: ``fine-tuning+lr=0.01+weight_decay=0.0001``.

    The settings are in the order of the alphabet: the order in which they were asked for does not
    matter. What cannot be part of a folder's name becomes a digest.

    Args:
        base: The name of the sweep.
        point: Its settings.
    """
    name = "+".join([base, *(f"{key}={value_text(point[key])}" for key in sorted(point))])
    fits = "/" not in name and name.isprintable() and len(name.encode()) <= LONGEST
    return name if fits else f"{base}+{digest_of(point)[:_DIGITS]}"


def settings_in(name: str) -> dict[str, str]:
    """Returns the settings that a point's name shows, as text."""
    parts = (part.partition("=") for part in name.split("+"))
    return {key: value for key, equals, value in parts if equals}


def base_of(name: str) -> str | None:
    """Returns the sweep that a name is a point of; None if it is no point's."""
    found = re.fullmatch(rf"(.+?)\+([\w.]+=.*|[0-9a-f]{{{_DIGITS}}})", name)
    return found[1] if found else None
