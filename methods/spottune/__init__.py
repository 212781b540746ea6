"""SpotTune: decide for each image which residual blocks are fine-tuned."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from torch import Tensor, nn, softmax
from torch.nn.functional import cross_entropy

from decathlon.method import Batch, Group, Method, Phase, Policy, Task
from decathlon.models.layers import freeze, normalise_by
from decathlon.models.networks import Architecture
from decathlon.models.noise import keyed_gumbel
from decathlon.models.residual import fix_beginning
from decathlon.models.weights import Source
from decathlon.suites.papers import GUO_2019

from .policy import most_likely, straight_through
from .recipe import RELEASE, SpotTuneRecipe
from .routing import RoutedNetwork

__all__ = ["SpotTune", "SpotTuneRecipe"]


class SpotTune(Method):
    """Routes each image through the frozen or the fine-tuned copy of each residual block.

    Guo et al., CVPR 2019, section 3. ``paper``: of ResNet-26 the first macro block is frozen, and
    the other blocks are routed (section 4.1). Ours: the stem is frozen too, the frozen path stays
    the source's, its batch statistics included, and testing takes the policy's argmax. A shortcut
    with parameters, such as ResNet-50's at strided blocks, is part of either path (see
    :class:`~.routed_block.RoutedBlock`), so that both are the source's block at step 0.

    ``released``: gyhui14/spottune as it runs: all blocks routed, the mixture is taken
    after the activation, the stem and the BN layers of both paths are trained
    (``main.py``, 239-246), the rate falls once, at epoch 40 of 110 (``utils.py``, 28-40), no
    flips, the central 72 pixels in testing (``imdbfolder.py``, 108-148, see :class:`Release`), and
    routing is sampled at test time too (``main.py``, 131-133), here with seeded noise.
    """

    paper = "Guo et al., CVPR 2019"
    year = 2019
    trains = "copies of blocks, policy, head"
    bibtex = GUO_2019
    release = RELEASE
    routes_images = True
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
    routed: ClassVar[type[RoutedNetwork]] = RoutedNetwork
    """The network that is built."""

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source with routed blocks and a policy network."""
        released, fixed = self.recipe.protocol == "released", self.recipe.fixed_macros(source)
        base = source.network()
        if released:
            for layer in base.macros.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    for parameter in layer.parameters(recurse=False):
                        parameter.requires_grad_(False)
            fix_beginning(base, self.recipe.fixed)
        else:
            freeze(base.stem)
            freeze(base.macros)
        base.new_head(tasks[0].num_classes)
        network = self.routed(base, source.architecture, fixed, released)
        for part in (network.stem, network.macros, network.tail):
            normalise_by(part, self.recipe.bn)
        return network

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
        """One phase: the groups of the network, and the policy at its own rate."""
        assert isinstance(network, RoutedNetwork)
        lr, decay = self.recipe.policy_lr, self.recipe.policy_weight_decay
        policy = self.sgd(network.policy.parameters(), tasks, lr, decay)
        return [Phase(1.0, [*self.network_groups(network, tasks), policy])]

    def network_groups(self, network: RoutedNetwork, tasks: Sequence[Task]) -> list[Group]:
        """Groups all parameters but the policy's."""
        named = network.named_parameters()
        return self.groups([(n, p) for n, p in named if not n.startswith("policy.")], tasks)

    def beginning(self, network: nn.Module) -> list[nn.Module]:
        """Stem, blocks and tail; the policy network has the images themselves."""
        assert isinstance(network, RoutedNetwork)
        return network.layers()

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
        return self.predict_on(network, batch, self.policy(network, batch).decisions)

    def policy(self, network: nn.Module, batch: Batch) -> Policy:
        """The recipe's decisions, and the probabilities that they are drawn with."""
        assert isinstance(network, RoutedNetwork)
        beta = network.policy_logits(batch.images)
        sampled = self.recipe.test_routing == "sample"
        decisions = self.draw(beta, batch) if sampled else most_likely(beta)
        return Policy(decisions, softmax(beta.float(), dim=-1)[..., 1])

    def predict_on(
        self, network: nn.Module, batch: Batch, decisions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits under the decisions, and the decisions."""
        assert isinstance(network, RoutedNetwork)
        return network(batch.images, policy=decisions), decisions
