"""#par: what a method stores on disk, in units of one plain network."""

from collections.abc import Iterable

from decathlon.results.records import RunRecord
from decathlon.suites.base import Suite


def params_ratio(records: Iterable[RunRecord], suite: Suite) -> tuple[float, int] | None:
    """Computes #par for all domains of a suite from the records of one name.

    Counts the tensors as stored on disk, relative to one plain network without a head:
    what the domains share, plus the mean over the target domains of what each stores for
    itself, times the number of targets; times the number of all domains where the source
    domain has a set of its own too. The whole source network counts as shared if its own domain is
    one of the suite's and keeps it; otherwise only what a target needs of it counts.

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
    if suite.source is not None and targets[0].source_domain == "keep":
        total = max(p.source for p in parameters) + len(suite.targets()) * own
    else:
        total = max(p.shared for p in parameters) + len(suite.domains) * own
    return total / parameters[0].unit, len({record.domain for record in targets})
