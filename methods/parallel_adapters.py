"""Parallel residual adapters: a 1x1 convolution beside each shared 3x3 convolution."""

from decathlon.models.capabilities import lacks_3x3_convolutions
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source
from decathlon.suites.papers import REBUFFI_2018

from .series_adapters import SeriesAdapters


class ParallelAdapters(SeriesAdapters):
    """Adds a 1x1 convolution beside each frozen 3x3 convolution.

    Rebuffi et al., CVPR 2018: BN(f(x) + W x). W is a 1x1 convolution with the stride of f,
    newly drawn; all 3x3 convolutions have one, the stem's too (srebuffi/residual_adapters,
    ``models.py``, 43-67, 102). Batch normalisations are the source's and are trained, as the
    adapters and the head are. A plain source is meant ("off the shelf").

    ``released``: its optimiser gives everything the adapters' decay (``sgd.py``, 30-46); the
    5e-4 of its README reaches nothing. Dropout, an option that is off there, is left out.
    """

    paper = "Rebuffi et al., CVPR 2018"
    year = 2018
    trains = "parallel adapters, batch norms, head"
    bibtex = REBUFFI_2018
    kind = "parallel"
    leaked = "nothing"

    @classmethod
    def refusal(cls, source: Source) -> str:
        """Refuses networks without 3x3 convolutions to stand beside."""
        return lacks_3x3_convolutions(source.architecture)

    def pretraining(self, width: float) -> Architecture:
        """Returns the plain network."""
        return Architecture(width=width)
