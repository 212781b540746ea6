"""One network for several domains: what they share is one tensor, all else is each one's."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn


class JointNetwork(nn.Module):
    """Networks of the same build, one for each domain, with tied parameters.

    Attributes:
        networks: By domain.
    """

    def __init__(self, networks: Mapping[str, nn.Module], tied: Collection[str]) -> None:
        """Ties parameters of networks.

        Args:
            networks: By domain; they are changed in place.
            tied: Names of the parameters that shall be the first network's in all of them.
        """
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        first, *others = networks.values()
        for name in tied:
            parent, _, child = name.rpartition(".")
            for network in others:
                setattr(network.get_submodule(parent), child, first.get_parameter(name))

    def forward(self, images: Tensor, domain: str) -> Tensor:
        """Maps images of one domain, N x 3 x H x W, to its logits, N x classes."""
        logits: Tensor = self.networks[domain](images)
        return logits
