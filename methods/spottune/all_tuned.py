"""SpotTune (running fine-tuned blocks): all images take the tuned path in testing."""

import torch
from torch import Tensor, nn

from decathlon.method import Batch

from . import SpotTune
from .routing import RoutedNetwork


def all_tuned(images: Tensor, num_routed: int) -> Tensor:
    """Returns the decisions of the tuned path, N x L."""
    return torch.ones(len(images), num_routed, device=images.device)


class TunedNetwork(RoutedNetwork):
    """A routed network that decides for the tuned path of every block."""

    def decide(self, images: Tensor) -> Tensor:
        """Returns ones, N x L."""
        return all_tuned(images, self.num_routed)


class SpotTuneAllTuned(SpotTune):
    """Evaluates a trained SpotTune with every image on the tuned path of every block.

    Guo et al., CVPR 2019, section 4.2.1. Nothing is trained: the network is that of the trial of
    ``spottune`` with the same recipe.
    """

    paper = "Guo et al., CVPR 2019, section 4.2.1"
    year = 2019
    trains = "nothing: a trained SpotTune"
    trained_by = "spottune"
    routes_images = False
    routed = TunedNetwork

    def predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Logits of the tuned path, and decisions that are all 1."""
        assert isinstance(network, RoutedNetwork)
        policy = all_tuned(batch.images, network.num_routed)
        return network(batch.images, policy=policy), policy
