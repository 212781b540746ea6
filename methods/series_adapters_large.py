"""Series residual adapters on a wider network."""

from dataclasses import dataclass
from typing import ClassVar

from decathlon.recipes import Recipe, Width, by_size
from decathlon.suites.papers import REBUFFI_2017

from .series_adapters import AdapterRecipe, SeriesAdapters


@dataclass(frozen=True)
class LargeRecipe(AdapterRecipe):
    """Settings of the large networks.

    Attributes:
        unit_width: Width of the plain network in whose units #par is counted; None: the
            source's own. The 12x of Table 3 are units of width 1.
    """

    unit_width: Width | None = None


class SeriesAdaptersLarge(SeriesAdapters):
    """Series adapters on a source network that is wider than the usual one.

    Rebuffi et al., NeurIPS 2017. The width is that of the source; theirs is not known, a
    factor of 2.4 gives the 12x of Table 3 (``pretrain --method series-adapters-large
    --width 2.4``). The decay by the size of the domain is that of series-adapters-decay, from
    which this one follows.

    ``released``: srebuffi/residual_adapters with a wider network (``--factor``), else as
    series adapters.
    """

    paper = "Rebuffi et al., NeurIPS 2017"
    year = 2017
    trains = "series adapters, batch norms, head"
    bibtex = REBUFFI_2017
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": LargeRecipe(weight_decay=by_size(1e-4, 5e-4, 2e-3), rest_weight_decay=None),
        "released": LargeRecipe(protocol="released"),
    }
