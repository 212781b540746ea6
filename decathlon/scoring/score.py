"""The decathlon score S.

    S = sum over the domains of alpha * max(0, E_max - E)^2,   alpha = 1000 / E_max^2

E is a domain's error and E_max twice the error of the fine-tuning baseline, so
that the baseline scores 250 in every domain and a perfect network 1000 (section
4.1 of the SpotTune paper, after Rebuffi et al., NIPS 2017).
"""

import math
from collections.abc import Mapping

from decathlon.common.errors import UsageError, nearest
from decathlon.suites.visual_decathlon import SCORE

PERFECT = 1000.0
"""Points of one domain without any error."""

OFFICIAL_E_MAX: Mapping[str, float] = SCORE.e_max
"""Official E_max by domain, each in [0, 1]."""


def points(error: float, e_max: float) -> float:
    """Returns the points of one domain, in [0, 1000].

    Args:
        error: Share of the images classified wrongly, in [0, 1].
        e_max: Error from which the domain scores nothing; above 0.
    """
    return PERFECT * max(0.0, 1.0 - error / e_max) ** 2


def slope(error: float, e_max: float) -> float:
    """Returns by how many points a domain rises per accuracy point (0.01 of error)."""
    return 2 * PERFECT * max(0.0, 1.0 - error / e_max) / e_max / 100


def domain_points(
    errors: Mapping[str, float], e_max: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Returns the points of each domain, each in [0, 1000].

    Args:
        errors: Error in [0, 1] by domain.
        e_max: E_max by domain, each above 0; the official values by default.

    Raises:
        UsageError: A domain without an E_max, or an error that is not in [0, 1].
    """
    limits = OFFICIAL_E_MAX if e_max is None else e_max
    for name, error in errors.items():
        if name not in limits:
            known = ", ".join(limits)
            raise UsageError(f"unknown domain '{name}'{nearest(name, limits)} (known: {known})")
        if not 0 <= error <= 1:  # NaN fails this too
            raise UsageError(
                f"error of {name} is {error}, outside [0, 1]: give the share of images that are"
                " wrong, not a percentage"
            )
        if not (math.isfinite(limits[name]) and limits[name] > 0):
            raise UsageError(
                f"E_max of {name} is {limits[name]}: it has to be above 0; leave the domain out"
            )
    return {name: points(error, limits[name]) for name, error in errors.items()}


def decathlon_score(errors: Mapping[str, float], e_max: Mapping[str, float] | None = None) -> float:
    """Computes the decathlon score S, in [0, 10000] for ten domains.

    A domain that is not given counts 0. Scores are comparable only between equal
    sets of domains with equal E_max.

    Args:
        errors: Error in [0, 1] by domain, e.g. ``{"dtd": 0.4287}``.
        e_max: E_max by domain, each above 0; the official values by default.

    Raises:
        UsageError: A domain without an E_max, or an error that is not in [0, 1]. It
            is a ``ValueError`` too.

    Example:
        >>> round(decathlon_score({"dtd": 0.0, "svhn": 0.0345}), 6)
        1250.0
    """
    return math.fsum(domain_points(errors, e_max).values())
