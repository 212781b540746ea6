"""Series residual adapters with a weight decay by the size of the domain."""

from typing import ClassVar

from decathlon.recipes import Recipe, by_size
from decathlon.suites.papers import REBUFFI_2017

from .series_adapters import AdapterRecipe, SeriesAdapters


class SeriesAdaptersDecay(SeriesAdapters):
    """Series adapters that decay the more, the smaller the domain is.

    Rebuffi et al., NeurIPS 2017. Their values are not known; ours are those of a public fork of
    srebuffi/residual_adapters, for adapters, batch norms and head alike.
    """

    paper = "Rebuffi et al., NeurIPS 2017"
    year = 2017
    trains = "series adapters, batch norms, head"
    bibtex = REBUFFI_2017
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": AdapterRecipe(weight_decay=by_size(1e-4, 5e-4, 2e-3), rest_weight_decay=None),
    }
