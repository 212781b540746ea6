"""A score that adds up points of domains, each by its margin over a baseline.

    S = sum over the domains of alpha * max(0, E_max - E)^2,   alpha = 1000 / E_max^2

E is a domain's error (section 4.1 of the SpotTune paper, after Rebuffi et al., NIPS 2017). E_max is
twice the error of the fine-tuning baseline, so that the baseline scores 250 in every domain and a
perfect network 1000. The SpotTune paper says "the error of a reasonable baseline algorithm"; the
factor is that of google/multi-task-architecture-search, ``util/calc.py``, lines 60-80.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from decathlon.common.errors import UsageError, check_known

PERFECT = 1000.0
"""Points of one domain without any error."""


@dataclass(frozen=True)
class Score:
    """The score of a suite.

    Attributes:
        heading: Its name in tables.
        e_max: Error from which a domain scores nothing, by domain; each in (0, 1].
    """

    heading: str
    e_max: Mapping[str, float]

    @property
    def perfect(self) -> float:
        """The score of a network without any error."""
        return PERFECT * len(self.e_max)


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


def domain_points(errors: Mapping[str, float], e_max: Mapping[str, float]) -> dict[str, float]:
    """Returns the points of each domain, each in [0, 1000].

    Args:
        errors: Error in [0, 1] by domain.
        e_max: E_max by domain, each above 0.

    Raises:
        UsageError: A domain without an E_max, or an error that is not in [0, 1].
    """
    for name, error in errors.items():
        check_known("domain", name, e_max)
        if not 0 <= error <= 1:  # NaN fails this too
            raise UsageError(
                f"error of {name} is {error}, outside [0, 1]: give the share of images that are"
                " wrong, not a percentage"
            )
        if not (math.isfinite(e_max[name]) and e_max[name] > 0):
            raise UsageError(
                f"E_max of {name} is {e_max[name]}: it has to be above 0; leave the domain out"
            )
    return {name: points(error, e_max[name]) for name, error in errors.items()}
