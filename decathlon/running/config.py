"""The configuration of a run: what a user asked for, in plain values."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from decathlon.common.errors import UsageError, check_known
from decathlon.common.files import CHECKPOINT_SECONDS
from decathlon.results.controls import CONTROLS, DRAWN, Control
from decathlon.results.selection import Selection
from decathlon.suites.base import Crop
from decathlon.suites.subset import Subset
from decathlon.training.device import Compute


@dataclass(frozen=True)
class Checkpointing:
    """When checkpoints are written.

    Attributes:
        seconds: Time between two of them; 0 for one after every step.
        steps: Steps after which another one is due at the latest; 0 if time alone decides.
    """

    seconds: float = CHECKPOINT_SECONDS
    steps: int = 0


@dataclass(frozen=True)
class RunConfig:
    """The configuration of one run; JSON values, so that it can be sent to other machines.

    Attributes:
        methods: Registered names.
        data: The data folder.
        results: RESULTS.
        sources: A weights file for all methods, and ``METHOD=FILE`` for one.
        domains: Domains; none for all that are prepared.
        split: ``val`` (trains on train) or ``test`` (trains on train and val).
        seeds: Seeds.
        subsets: Parts of the training images, each for trials of its own; none for all images.
        crop: What images are cut from.
        routing: Evaluate finished trials with the decisions of this control, and train nothing.
        routes: Draws of decisions that the control averages.
        of: Name in the results of the trials that the control evaluates; None for the method's.
        name: Name in the results, of one method only; None for the method's.
        settings: ``field=value`` arguments.
        compute: Device, precision and threads.
        checkpointing: When checkpoints are written.
        force: Run finished trials again.
        cache_frozen: Compute the frozen beginning of a network once for each crop of an image.
        selection: How the settings were chosen, if a sweep did that.
        keep_logits: Keep the logits of every image beside the predictions.
        cache_features: Keep the features that a probe is fitted to, and take those that are kept.
    """

    methods: tuple[str, ...]
    data: Path
    results: Path
    sources: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    split: str = "test"
    seeds: tuple[int, ...] = (0,)
    subsets: tuple[Subset, ...] = ()
    crop: Crop = "image"
    routing: Control | None = None
    routes: int = 1
    of: str | None = None
    name: str | None = None
    settings: tuple[str, ...] = ()
    compute: Compute = field(default_factory=Compute)
    checkpointing: Checkpointing = field(default_factory=Checkpointing)
    force: bool = False
    cache_frozen: bool = False
    selection: Selection | None = None
    keep_logits: bool = False
    cache_features: bool = True

    def __post_init__(self) -> None:
        """Checks that logits are kept of a method's own predictions only.

        Raises:
            UsageError: They are asked for of a control of routing.
        """
        if self.keep_logits and self.routing is not None:
            raise UsageError("--keep-logits is not for controls: leave it out with --routing")

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values; paths are absolute."""
        found = replace(
            self,
            data=self.data.absolute(),
            results=self.results.absolute(),
            sources=tuple(map(_absolute, self.sources)),
        )
        value: dict[str, Any] = TypeAdapter(RunConfig).dump_python(found, mode="json")
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunConfig":
        """Reads what :meth:`as_json` returned."""
        return TypeAdapter(cls).validate_python(value)


def subsets_of(
    shots: int | None, fraction: float | None, draws: Sequence[int]
) -> tuple[Subset, ...]:
    """Returns the subsets of ``--shots``, ``--fraction`` and ``--draw``; none without them.

    Raises:
        UsageError: They do not fit together, or one is out of its range.
    """
    if shots is None and fraction is None:
        if draws:
            raise UsageError("--draw is of a part of the images: add --shots K or --fraction F")
        return ()
    return tuple(Subset(shots, fraction, draw) for draw in dict.fromkeys(draws or (0,)))


def routing_of(
    control: str | None, routes: int | None, of: str | None
) -> tuple[Control | None, int]:
    """Returns the control of ``--routing`` and the draws of ``--routes``.

    Raises:
        UsageError: There is no such control, it draws no decisions, or ``--of`` is without it.
    """
    if control is not None:
        check_known("routing", control, CONTROLS)
    elif of is not None:
        raise UsageError(f"--of {of} is for --routing: add --routing CONTROL, or leave it out")
    known = cast(Control | None, control)
    if routes is not None and known not in DRAWN:
        raise UsageError(f"--routes is of --routing {' or '.join(DRAWN)}: leave it out")
    if routes is not None and routes < 1:
        raise UsageError(f"--routes {routes}: average one draw or more")
    return known, routes or 1


def split_source(text: str) -> tuple[str, Path]:
    """Splits METHOD=FILE; for a FILE alone, the method is empty."""
    method, equals, path = text.partition("=")
    if method and equals and not Path(text).exists():
        return method, Path(path)
    return "", Path(text)


def _absolute(text: str) -> str:
    method, path = split_source(text)
    return f"{method}={path.absolute()}" if method else str(path.absolute())
