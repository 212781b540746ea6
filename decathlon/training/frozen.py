"""What the frozen beginning of a network makes of its images, computed once for each crop.

In a network for photographs, the first layers see the largest feature maps and take much of a
step's time. Where they are frozen (see :func:`decathlon.models.layers.freeze`), what they make of
a crop is the same in every step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile

import torch
from torch import Tensor, nn

from decathlon.common.errors import UsageError
from decathlon.common.limits import memory
from decathlon.method.base import Batch, Method
from decathlon.models.layers import is_frozen
from decathlon.training.feed import Feed

CHUNK = 32
"""Images computed at a time. Always the same ones together, as the last bits may depend on them: a
training that is resumed keeps what an uninterrupted one does."""
SHARE = 0.5
"""Part of this process's memory that may be taken."""


class FrozenBeginning:
    """The frozen layers that the images of a feed pass first, and what they return.

    The network stays as it is: the layers are passed over only inside :meth:`known`, and only for
    the images of its batch. Layers that begin to learn in a later phase are computed again.
    """

    def __init__(self, method: Method, network: nn.Module, feed: Feed) -> None:
        """Finds the layers; nothing is computed yet.

        Args:
            method: Says which layers come first.
            network: As the method built it.
            feed: The images, with a fixed number of crops.
        """
        assert feed.batches.crops is not None
        self.feed, self.num_draws = feed, feed.batches.crops
        layers = method.beginning(network) if feed.batches.one_size else []
        self.layers = list(takewhile(is_frozen, layers))
        self._outputs: dict[int, Tensor] = {}

    @contextmanager
    def known(self, batch: Batch) -> Iterator[None]:
        """Lets the layers return what they once made of a batch's images.

        Args:
            batch: Of the feed; in the mode and precision of the training.

        Raises:
            UsageError: There is no memory to keep it.
        """
        if not self.layers or not all(map(is_frozen, self.layers)):
            yield
            return
        last = self._of(batch)
        given = [batch.images, *(last for _ in self.layers[1:])]
        try:
            for layer, known in zip(self.layers, given, strict=True):
                vars(layer)["forward"] = _passed_over(layer, known, last)
            yield
        finally:
            for layer in self.layers:
                vars(layer).pop("forward", None)

    def _of(self, batch: Batch) -> Tensor:
        """Returns what the last layer makes of a batch's images."""
        assert batch.index is not None
        if batch.draw not in self._outputs:
            self._outputs[batch.draw] = self._computed(batch.draw)
        rows = self._outputs[batch.draw].index_select(0, batch.index)
        return _as_computed(rows).to(batch.images.device)

    @torch.no_grad()
    def _computed(self, draw: int) -> Tensor:
        """Computes what the last layer returns for all images, see :func:`_as_kept`."""
        count, kept = len(self.feed.images), torch.empty(0)
        for number, images in enumerate(self.feed.crops(draw, CHUNK)):
            x = images
            for layer in self.layers:
                x = layer(x)
            part = _as_kept(x)
            if number == 0:
                self._check(part[0].nbytes)
                kept = torch.empty((count, *part.shape[1:]), dtype=part.dtype)
            kept[number * CHUNK :][: len(part)] = part
        return kept

    def _check(self, num_bytes: int) -> None:
        """Checks that there is memory for what is made of each crop.

        Raises:
            UsageError: There is not.
        """
        there, count = memory(), len(self.feed.images)
        needed = self.num_draws * count * num_bytes
        if there is not None and needed > SHARE * there:
            raise UsageError(
                f"--cache-frozen: {self.num_draws} crops of {count} images of {self.feed.domain}"
                f" take {needed / 1e6:,.0f} MB, and of this machine's {there / 1e6:,.0f} MB at most"
                " half is used for them; --set fewer crops, or leave the option out"
            )


def _passed_over(layer: nn.Module, given: Tensor, known: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns a layer's forward pass that knows the result for one tensor."""
    computed: Callable[[Tensor], Tensor] = layer.forward

    def forward(x: Tensor) -> Tensor:
        return known if x is given else computed(x)

    return forward


def _as_kept(x: Tensor) -> Tensor:
    """Returns feature maps, N x C x H x W, with the channels last; of others the same."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def _as_computed(x: Tensor) -> Tensor:
    """Undoes :func:`_as_kept`: feature maps are in channels-last memory order, as in training."""
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x
