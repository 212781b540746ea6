"""The settings of a method, and how a user changes them.

A recipe is a frozen dataclass; a method adds fields by deriving from :class:`Recipe`.
Fractions (milestones, phases, ramps) are of ``epochs``, so any ``epochs`` >= 1 is valid.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from decathlon.errors import UsageError, nearest

DEFAULT = "default"


def _per_domain(value: Any) -> Any:
    return {DEFAULT: value} if isinstance(value, int | float | str) else value


NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PerDomain = Annotated[dict[str, NonNegative], BeforeValidator(_per_domain)]
"""A number for each domain; ``default`` holds for those not named."""


def by_size(large: float, medium: float, small: float) -> dict[str, float]:
    """Returns weight decay by the size of the official training sets.

    The grouping of recipes for residual adapters: stronger for smaller sets
    (Rebuffi et al., NeurIPS 2017, say so without values; these groups are those of a
    public fork of their code).
    """
    groups = (
        (large, ("imagenet12", "cifar100", "gtsrb", "svhn")),
        (medium, (DEFAULT, "daimlerpedcls", "omniglot", "ucf101")),
        (small, ("aircraft", "dtd", "vgg-flowers")),
    )
    return {domain: decay for decay, names in groups for domain in names}


@dataclass(frozen=True)
class Recipe:
    """Protocol R: the settings of the residual adapters' release, without its bugs.

    Sources: srebuffi/residual_adapters ``train_new_task_adapters.py``, lines 28-34 (120
    epochs, rate 0.1 times 0.1 at 80 and 100, momentum 0.9), ``imdbfolder_coco.py``,
    line 146 (batches of 128), README (decay 1e-4).

    Attributes:
        protocol: ``paper``, or ``released``: the authors' code as it really runs.
        epochs: Passes over the training images.
        batch_size: Images a step, over all processes.
        lr: Initial learning rate.
        momentum: Of SGD.
        milestones: Fractions of the epochs at which the rate is multiplied by gamma.
        gamma: See milestones.
        weight_decay: By domain.
    """

    protocol: Literal["paper", "released"] = "paper"
    epochs: Annotated[int, Field(ge=1)] = 120
    batch_size: Annotated[int, Field(ge=2)] = 128
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    milestones: tuple[Fraction, ...] = (80 / 120, 100 / 120)
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    weight_decay: PerDomain = field(default_factory=lambda: {DEFAULT: 1e-4})

    def decay(self, domain: str) -> float:
        """Returns the weight decay of a domain."""
        return self.weight_decay.get(domain, self.weight_decay.get(DEFAULT, 0.0))

    def as_json(self) -> dict[str, Any]:
        """Returns all fields as JSON values."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value


R = TypeVar("R", bound=Recipe)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Parses ``field=value`` arguments; a value is JSON, else a string.

    Raises:
        UsageError: One is not of that form.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set '{setting}': write --set field=value")
        try:
            parsed[name] = json.loads(text)
        except ValueError:
            parsed[name] = text
    return parsed


def apply(recipes: Mapping[str, R], settings: Mapping[str, Any], what: str) -> R:
    """Applies a user's settings to a method's recipe; ``protocol`` comes first.

    Args:
        recipes: The method's recipes by protocol.
        settings: Values by field name, ``field.domain`` for one domain's.
        what: Whose recipe it is, for messages.

    Raises:
        UsageError: An unknown field or protocol, or a value of the wrong type; the
            fields are listed.
    """
    protocol = str(settings.get("protocol", "paper"))
    if protocol not in recipes:
        raise UsageError(
            f"{what} has no protocol '{protocol}'{nearest(protocol, recipes)}"
            f" (it has: {', '.join(recipes)})"
        )
    recipe = recipes[protocol]
    known = [f.name for f in fields(recipe)]
    changes: dict[str, Any] = {}
    for name, value in sorted(settings.items()):
        base, _, domain = name.partition(".")
        if base not in known:
            raise UsageError(
                f"{what} has no setting '{base}'{nearest(base, known)}"
                f"\nits fields:\n{_listing(recipe)}"
            )
        if not domain:
            changes[base] = value
        elif isinstance(getattr(recipe, base), dict):
            table = changes.get(base, getattr(recipe, base))
            changes[base] = {**_per_domain(table), domain: value}
        else:
            raise UsageError(
                f"{what}: '{base}' is one value for all domains, write --set {base}=..."
            )
    try:
        adapter: TypeAdapter[R] = TypeAdapter(type(recipe))
        return adapter.validate_python(asdict(replace(recipe, **changes)))
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc']))}: {e['msg']} (given: {e['input']!r})"
            for e in error.errors(include_url=False)
        ]
        problems = "\n".join(lines)
        raise UsageError(
            f"{what}: settings that do not fit:\n{problems}\nits fields:\n{_listing(recipe)}"
        ) from None


def _listing(recipe: Recipe) -> str:
    return "\n".join(f"  {name} = {json.dumps(v)}" for name, v in recipe.as_json().items())
