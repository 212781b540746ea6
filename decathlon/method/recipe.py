"""The settings of a method, and how a user changes them.

A recipe is a frozen dataclass; a method adds fields by deriving from :class:`Recipe`.
Fractions (milestones, phases, ramps) are of ``epochs``, so any ``epochs`` >= 1 is valid.

Every number in a recipe has one of the types below, which give its range. A plain ``float``
or ``int`` would accept any number; :func:`decathlon.testing.check_method` rejects it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from decathlon.common.errors import UsageError, nearest
from decathlon.suites.base import DEFAULT, Suite
from decathlon.suites.registry import DEFAULT as DEFAULT_SUITE

if TYPE_CHECKING:
    from decathlon.models.weights import Source

MAX_COUNT = 10**9
"""The largest count in a recipe; a larger one is a typo."""
MAX_NUMBER = 1e30
"""The largest number in a recipe: training computes in 32 bits, which end at 3.4e38."""
FIELDS = "\nits fields:\n"
"""In messages, before the list of all settings."""
MAX_SHOWN = 60
"""Characters of a rejected value that a message repeats."""


def _per_domain(value: Any) -> Any:
    return value if isinstance(value, dict) else {DEFAULT: value}


def _within_32_bits(value: float) -> float:
    if value > MAX_NUMBER:
        raise ValueError(f"training is in 32 bits, give at most {MAX_NUMBER:g}")
    return value


# Not Field(le=...): for Recipe.unbounded these have no upper limit, as only arithmetic sets one.
Positive = Annotated[float, Field(gt=0), AfterValidator(_within_32_bits)]
"""A number above 0."""
NonNegative = Annotated[float, Field(ge=0), AfterValidator(_within_32_bits)]
"""A number of at least 0."""
Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number in [0, 1]."""
Threshold = Annotated[float, Field(ge=-1e6, le=1e6)]
"""A number that may be negative."""
Width = Annotated[float, Field(ge=0.05, le=32)]
"""A factor on all channel numbers of a network."""
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
"""A whole number of at least 1."""
PerDomain = Annotated[dict[str, NonNegative], BeforeValidator(_per_domain)]
"""A number for each domain; ``default`` holds for those not named."""


def by_size(large: float, medium: float, small: float) -> dict[str, float]:
    """Returns weight decay by the size class of the training set (:attr:`Domain.group`).

    The rule of recipes for residual adapters: stronger for smaller sets (Rebuffi et al.,
    NeurIPS 2017). A domain that its suite does not list is medium.
    """
    return {"large": large, "medium": medium, "small": small}


@dataclass(frozen=True)
class Recipe:
    """Protocol R: the settings of the residual adapters' release, without its bugs.

    Sources: srebuffi/residual_adapters ``train_new_task_adapters.py``, lines 28-34 (120 epochs,
    rate 0.1), 62-64 (decay 1e-4) and 153 (momentum 0.9), ``utils_pytorch.py``, 37-42 (rate times
    0.1 at 80 and 100), ``imdbfolder_coco.py``, 146 (batches of 128).

    Attributes:
        protocol: ``paper``; ``released``: the authors' code as it really runs; or, where the
            suite gives recipes, one of those.
        epochs: Passes over the training images; None if ``steps`` counts.
        batch_size: Images a step, over all processes.
        lr: Initial learning rate.
        momentum: Of SGD.
        milestones: Fractions of the training at which the rate is multiplied by gamma.
        gamma: See milestones.
        weight_decay: By domain.
        steps: Steps of the whole training; None if ``epochs`` counts.
        head_lr: Initial rate of the head and of other newly drawn layers; None for ``lr``.
        nesterov: Nesterov's momentum.
        crops: Random crops and flips that each image has: epoch e sees the (e mod crops)-th. None:
            other ones in every epoch.
    """

    # JSON's types as they are ("1" and true are no numbers), and no NaN or infinity in any field.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, allow_inf_nan=False)
    left_out: ClassVar[Mapping[str, Any]] = {
        "epochs": None,
        "steps": None,
        "head_lr": None,
        "nesterov": False,
        "crops": None,
    }
    """Fields that the JSON lacks at these values: records of earlier versions lack them too."""

    protocol: str = "paper"
    epochs: Count | None = 120
    batch_size: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 128
    lr: Positive = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    milestones: tuple[Fraction, ...] = (80 / 120, 100 / 120)
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    weight_decay: PerDomain = field(default_factory=lambda: {DEFAULT: 1e-4})
    # By keyword, so that the fields of derived recipes keep their order.
    steps: Count | None = field(default=None, kw_only=True)
    head_lr: Positive | None = field(default=None, kw_only=True)
    nesterov: bool = field(default=False, kw_only=True)
    crops: Count | None = field(default=None, kw_only=True)

    # Properties here, so that a recipe without such a setting has no field for it.
    @property
    def steps_per_epoch(self) -> int | None:
        """Steps in an epoch, at most; None for a whole pass over the images."""
        return None

    @property
    def unit_width(self) -> float | None:
        """Width of the plain network in whose units #par is counted; None: the source's."""
        return None

    def on(self, suite: Suite) -> Self:
        """Returns the recipe with the suite's values for its protocol.

        Values by size class are spread over the suite's domains.
        """
        own = replace(self, **suite.recipes.get(self.protocol, {}))
        decay: dict[str, float] = {}
        for key, value in own.weight_decay.items():
            domains = [name for name, domain in suite.domains.items() if domain.group == key]
            keys = {"large": domains, "medium": [DEFAULT, *domains], "small": domains}
            decay |= dict.fromkeys(keys.get(key, [key]), value)
        return replace(own, weight_decay=decay)

    def decay(self, domain: str) -> float:
        """Returns the weight decay of a domain."""
        return self.weight_decay.get(domain, self.weight_decay.get(DEFAULT, 0.0))

    def unbounded(self, domain: str) -> dict[str, float]:
        """Returns the numbers without an upper limit: those that can make a training diverge.

        Args:
            domain: Whose value is returned of settings per domain.
        """
        found = {}
        for name, hint in _hints(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, dict):
                value = value.get(domain, value.get(DEFAULT))
            kinds = [kind for kind, limited in _numbers(hint) if not limited]
            if float in kinds and isinstance(value, float | int):
                found[name] = value
        return found

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values; see :attr:`left_out`."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        out = self.left_out
        return {key: v for key, v in value.items() if key not in out or v != out[key]}


@dataclass(frozen=True)
class TuningRecipe(Recipe):
    """Settings of methods that train layers of the source network.

    Attributes:
        bn: What batch normalisations of trained layers normalise by while training: ``batch``, the
            images of the step, and the running statistics follow; or ``source``, the source's
            statistics, which stay (see :func:`decathlon.models.layers.normalise_by`). Their weights
            and biases learn either way. Networks without batch normalisation are trained the same.
        fixed: Macro blocks at the beginning that stay the source's, batch statistics included, and
            the stem before them (see :func:`decathlon.models.residual.fix_beginning`). With 0 it
            is the stem alone; with None nothing is fixed, not even the stem.
    """

    left_out = {**Recipe.left_out, "bn": "batch", "fixed": None}

    bn: Literal["batch", "source"] = field(default="batch", kw_only=True)
    fixed: Annotated[int, Ge(0), Le(1000)] | None = field(default=None, kw_only=True)

    def fixed_macros(self, source: "Source") -> int | None:
        """Returns how many macro blocks of a source network are fixed; None: not even the stem.

        Raises:
            UsageError: None would be left to train.
        """
        given = source.architecture
        if self.fixed is not None and self.fixed >= len(given.blocks):
            raise UsageError(
                f"--set fixed={self.fixed}: a {given.name} has {len(given.blocks)} stages (macro"
                f" blocks) and one has to be trained; fixed is at most {len(given.blocks) - 1}"
            )
        return self.fixed


R = TypeVar("R", bound=Recipe)
_CONSTANTS = {"True": True, "False": False, "None": None} | {
    text: float(text) for text in ("nan", "inf", "-inf")
}
"""Values that are written as Python writes them, not as JSON."""


def without_range(kind: type[Recipe]) -> list[str]:
    """Returns the fields of a recipe that are a plain ``float`` or ``int``."""
    return [
        name
        for name, hint in _hints(kind).items()
        if any(bounds is None for _, bounds in _numbers(hint))
    ]


def _hints(kind: type[Recipe]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in fields(kind)}


def _numbers(hint: Any, rules: Sequence[Any] = ()) -> Iterator[tuple[type, bool | None]]:
    """Yields (type, whether it has an upper limit) of all numbers in an annotation.

    The second is None for a number without any limit, such as a plain ``float``.

    Args:
        hint: The annotation.
        rules: What an annotation around it says.
    """
    if get_origin(hint) is Annotated:
        hint, *rules = get_args(hint)
    if hint in (float, int):
        limits = [limit for rule in rules for limit in getattr(rule, "metadata", [rule])]
        upper = any(isinstance(limit, Le | Lt) for limit in limits)
        yield hint, upper if upper or any(isinstance(limit, Ge | Gt) for limit in limits) else None
    else:
        for part in get_args(hint):
            yield from _numbers(part, rules)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Parses ``field=value`` arguments; a value is JSON, else a string.

    Python's ``True``, ``False`` and ``None`` are understood too. The last value of a field counts.

    Raises:
        UsageError: One is not of that form.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name or name.endswith("."):
            raise UsageError(f"--set '{setting}': write --set field=value")
        try:
            parsed[name] = json.loads(text)
        except (ValueError, RecursionError):
            parsed[name] = _CONSTANTS.get(text, text)
    return parsed


def apply(
    recipes: Mapping[str, R], settings: Mapping[str, Any], what: str, suite: Suite = DEFAULT_SUITE
) -> R:
    """Applies a user's settings to a method's recipe; ``protocol`` comes first.

    Args:
        recipes: The method's recipes by protocol; of those, a suite with recipes of its own
            offers none but ``paper``.
        settings: Values by field name, ``field.domain`` for one domain's.
        what: Whose recipe it is, for messages.
        suite: The suite whose domains the settings are for.

    Raises:
        UsageError: An unknown field or protocol, or a value of the wrong type; the
            fields are listed.
    """
    protocol = _protocol(settings)
    protocols = dict.fromkeys(["paper", *suite.recipes]) if suite.recipes else recipes
    if protocol not in protocols:
        raise UsageError(
            f"{what} has no protocol '{protocol}' on the suite {suite.name}"
            f"{nearest(protocol, protocols)} (it has: {', '.join(protocols)})"
        )
    return _changed(_of_protocol(recipes, protocol).on(suite), settings, what)


def from_json(recipes: Mapping[str, R], value: Mapping[str, Any], what: str) -> R:
    """Reads what :meth:`Recipe.as_json` wrote, whatever suite the recipe was for.

    Args:
        recipes: The method's recipes by protocol.
        value: By field name.
        what: Whose recipe it is, for messages.

    Raises:
        UsageError: An unknown field, or a value of the wrong type.
    """
    return _changed(_of_protocol(recipes, _protocol(value)), value, what)


def _protocol(settings: Mapping[str, Any]) -> str:
    return str(settings.get("protocol", "paper"))


def _of_protocol(recipes: Mapping[str, R], protocol: str) -> R:
    """Returns a method's recipe; for a protocol of a suite's, its ``paper`` with that name."""
    return recipes.get(protocol) or replace(recipes["paper"], protocol=protocol)


def _changed(recipe: R, settings: Mapping[str, Any], what: str) -> R:
    """Returns a recipe with a user's settings; see :func:`apply`."""
    known = [f.name for f in fields(recipe)]
    changes = _other_length(settings, what)
    for name, value in sorted(settings.items()):
        base, _, domain = name.partition(".")
        if base not in known:
            raise UsageError(
                f"{what} has no setting '{base}'{nearest(base, known)}{FIELDS}{_listing(recipe)}"
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
        found = adapter.validate_json(json.dumps(asdict(replace(recipe, **changes))))
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc']))}: {e['msg']} (given: {_shown(e['input'])})"
            for e in error.errors(include_url=False)
        ]
        problems = "\n".join(lines)
        raise UsageError(
            f"{what}: settings that do not fit:\n{problems}{FIELDS}{_listing(recipe)}"
        ) from None
    if found.epochs is None and found.steps is None:
        raise UsageError(f"{what}: has no length; --set epochs=N or --set steps=N")
    return found


def _other_length(settings: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Returns the change that a length in epochs makes to one in steps, and the other way.

    Raises:
        UsageError: Both are given.
    """
    given = [name for name in ("epochs", "steps") if name in settings]
    if len(given) == 2:
        raise UsageError(f"{what}: --set either epochs or steps, not both")
    return {"steps" if given == ["epochs"] else "epochs": None} if given else {}


def _listing(recipe: Recipe) -> str:
    return "\n".join(f"  {name} = {json.dumps(v)}" for name, v in recipe.as_json().items())


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
