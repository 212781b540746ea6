"""Parameter counts: what a method stores on disk, and #par."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from decathlon.common.strict import StrictModel
from decathlon.suites.base import Suite

if TYPE_CHECKING:
    from decathlon.results.records import RunRecord

Count = Annotated[int, Field(ge=0)]


class Parameters(StrictModel):
    """Bits on disk of the tensors that count as parameters (no running statistics).

    Attributes:
        source: All of the source network's, without its head.
        shared: Of the source's tensors that this domain's network uses as they are.
        domain: Of the domain's own tensors, without its head.
        head: Of the domain's classifier.
        unit: One plain network of the source's width, without a head.
    """

    source: Count
    shared: Count
    domain: Count
    head: Count
    unit: Annotated[int, Field(gt=0)]


def params_ratio(records: Iterable["RunRecord"], suite: Suite) -> tuple[float, int] | None:
    """Computes #par for all domains of a suite from the records of one name.

    Counts the tensors as stored on disk, relative to one plain network without a head:
    what the domains share, plus the mean over the target domains of what each stores for
    itself, times the number of targets; times the number of all domains where the source
    domain has a set of its own too.

    Args:
        records: Records of one method or variant, any seeds.
        suite: Their suite.

    Returns:
        (#par, number of target domains it rests on), or None without a target domain.
    """
    targets = [record for record in records if record.domain != suite.source]
    if not targets:
        return None
    parameters = [record.parameters for record in targets]
    own = sum(p.domain for p in parameters) / len(targets)
    if targets[0].source_domain == "keep":
        total = max(p.source for p in parameters) + len(suite.targets()) * own
    else:
        total = max(p.shared for p in parameters) + len(suite.domains) * own
    return total / parameters[0].unit, len({record.domain for record in targets})
