"""The settings of SpotTune."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from decathlon.models.weights import Source
from decathlon.recipes import DEFAULT, NonNegative, Positive, TuningRecipe
from decathlon.suites.base import Suite

RELEASE = "spottune"
"""The released code, as a suite calls it."""


@dataclass(frozen=True)
class RoutingRecipe(TuningRecipe):
    """Settings of methods that route images through frozen and tuned blocks.

    ``fixed`` is the number of macro blocks that are not routed; None: as many as suit the network
    (:attr:`Family.fixed_macros`), in ``released`` none.
    """

    def fixed_macros(self, source: Source) -> int:
        """Returns how many macro blocks of a source network are not routed.

        Raises:
            UsageError: None would be routed.
        """
        given = super().fixed_macros(source)
        if given is None:
            return 0 if self.protocol == "released" else source.architecture.fixed_macros
        return given


@dataclass(frozen=True)
class SpotTuneRecipe(RoutingRecipe):
    """Settings of SpotTune.

    Attributes:
        tau: Temperature of equation 4. Not given in the paper; 1 is ours, as the policy
            learns too slowly in short trainings with the released code's 5
            (``gumbel_softmax.py``, line 15).
        policy_lr: Initial rate of the policy network. The paper names one optimiser and no rates;
            ours is the network's: that of its head, which is new too, where a suite gives rates.
            0.01 in the released code (``main.py``, line 29).
        policy_weight_decay: Its decay, the network's too; 1e-3 in the released code (``main.py``,
            line 259).
        test_routing: ``argmax`` of the policy, or ``sample`` from it.
    """

    tau: Positive = 1.0
    policy_lr: Positive = 0.1
    policy_weight_decay: NonNegative = 1e-4
    test_routing: Literal["argmax", "sample"] = "argmax"

    def on(self, suite: Suite) -> Self:
        """Returns the recipe for a suite; ``released`` has the released weight decay.

        Where the suite gives rates and decay, the policy has those of the head.
        """
        release = suite.releases.get(RELEASE)
        if self.protocol == "paper" or release is None or set(self.weight_decay) != {DEFAULT}:
            own = super().on(suite)
            if "lr" not in suite.recipes.get(self.protocol, {}):
                return own
            lr, decay = own.head_lr or own.lr, own.decay(DEFAULT)
            return replace(own, policy_lr=lr, policy_weight_decay=decay)
        return replace(self, weight_decay={**self.weight_decay, **release.weight_decay})
