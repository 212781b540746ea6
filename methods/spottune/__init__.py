"""SpotTune: decide for each image which residual blocks are fine-tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from decathlon.method import Batch, Method, Phase, Task
from decathlon.models.layers import freeze
from decathlon.models.noise import keyed_gumbel
from decathlon.models.resnet import Architecture
from decathlon.models.weights import Source
from decathlon.recipes import DEFAULT, NonNegative, Positive, Recipe
from decathlon.suites.base import Suite, View

from .policy import straight_through
from .routing import RoutedNetwork

RELEASE = "spottune"
"""The released code, as a suite calls it."""


@dataclass(frozen=True)
class SpotTuneRecipe(Recipe):
    """Settings of SpotTune.

    Attributes:
        tau: Temperature of equation 4. Not given in the paper; 1 is ours, as the policy
            learns too slowly in short trainings with the released code's 5
            (``gumbel_softmax.py``, line 15).
        policy_lr: Initial rate of the policy network. The paper has one optimiser for all,
            so it is the network's; 0.01 in the released code (``main.py``, line 29).
        policy_weight_decay: Its decay; 1e-3 in the released code (``main.py``, line 259).
        test_routing: ``argmax`` of the policy, or ``sample`` from it.
    """

    tau: Positive = 1.0
    policy_lr: Positive = 0.1
    policy_weight_decay: NonNegative = 1e-4
    test_routing: Literal["argmax", "sample"] = "argmax"

    def on(self, suite: Suite) -> Self:
        """Returns the recipe for a suite; ``released`` has the released weight decay."""
        release = suite.releases.get(RELEASE)
        if self.protocol == "paper" or release is None or set(self.weight_decay) != {DEFAULT}:
            return super().on(suite)
        return replace(self, weight_decay={**self.weight_decay, **release.weight_decay})


class SpotTune(Method):
    """Routes each image through the frozen or the fine-tuned copy of each residual block.

    Guo et al., CVPR 2019, section 3. ``paper``: stem and first macro block are frozen and
    the other blocks routed (section 4.1); the frozen path stays the source's, its batch
    statistics included; the decision is the policy's argmax at test time.

    ``released``: gyhui14/spottune as it runs: all blocks routed, the mixture is taken
    after the activation, the stem and the BN layers of both paths are trained
    (``main.py``, 239-246), the rate falls once, at epoch 40 of 110 (``utils.py``, 28-40), no
    flips, whole images in testing (``imdbfolder.py``, 108-148, see :class:`Release`), and
    routing is sampled at test time too (``main.py``, 131-133), here with seeded noise.
    """

    paper = "Guo et al., CVPR 2019"
    year = 2019
    trains = "copies of blocks, policy, head"
    recipes = {
        "paper": SpotTuneRecipe(),
        "released": SpotTuneRecipe(
            protocol="released",
            epochs=110,
            milestones=(40 / 110,),
            tau=5.0,
            policy_lr=0.01,
            policy_weight_decay=1e-3,
            test_routing="sample",
        ),
    }
    recipe: SpotTuneRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source with routed blocks and a policy network."""
        released = self.recipe.protocol == "released"
        base = source.network()
        if released:
            for layer in base.macros.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.weight.requires_grad_(False)
        else:
            freeze(base.stem)
            freeze(base.macros)
        base.new_head(tasks[0].num_classes)
        return RoutedNetwork(base, source.architecture, 0 if released else 1, released)

    @classmethod
    def imported(cls, header: Mapping[str, Any]) -> nn.Module:
        """Returns the released network, with a policy network of a width of its own."""
        own, policy = (Architecture.from_json(header[key]) for key in ("architecture", "policy"))
        source = Source(own, int(header["num_classes"]))
        task = Task("", source.num_classes, 0)
        network = cls(cls.recipes["released"]).build(source, [task])
        network.policy = policy.build(2 * cast(RoutedNetwork, network).num_routed)
        return network

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """One phase with two groups: the network, and the policy at its own rate."""
        assert isinstance(network, RoutedNetwork)
        policy = list(network.policy.parameters())
        rest = [p for n, p in network.named_parameters() if not n.startswith("policy.")]
        recipe = self.recipe
        groups = [
            self.sgd(rest, tasks),
            self.sgd(policy, tasks, recipe.policy_lr, recipe.policy_weight_decay),
        ]
        return [Phase(1.0, groups)]

    def sample(self, network: RoutedNetwork, batch: Batch) -> Tensor:
        """Draws I_l(x) for the policy network's beta; N x L in {0, 1}."""
        return self.draw(network.policy_logits(batch.images), batch)

    def draw(self, beta: Tensor, batch: Batch) -> Tensor:
        """Draws I_l(x) with equation 3, to be differentiated as equation 4; N x L."""
        noise = keyed_gumbel(batch.key, batch.ids, beta[0].numel()).view_as(beta)
        return straight_through(beta, noise, self.recipe.tau)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of the network under a sampled policy."""
        assert isinstance(network, RoutedNetwork)
        logits = network(batch.images, policy=self.sample(network, batch))
        return cross_entropy(logits.float(), batch.labels)

    def predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Logits under the policy's decisions, and the decisions."""
        assert isinstance(network, RoutedNetwork)
        if self.recipe.test_routing == "sample":
            policy = self.sample(network, batch)
        else:
            policy = network.decide(batch.images)
        return network(batch.images, policy=policy), policy

    def view(self, task: Task, training: bool) -> View:
        """The domain's view; in ``released`` that of the released code."""
        views = task.views
        if self.recipe.protocol == "released":
            views = task.released.get(RELEASE, views)
        return views.train if training else views.test
