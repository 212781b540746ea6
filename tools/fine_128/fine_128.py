"""The fine-grained sets at 128 pixels: a third of the time, for computers without a GPU."""

from dataclasses import replace

from decathlon.suites.base import View, Views
from decathlon.suites.fine_grained import SUITE as FINE_GRAINED

VIEWS = Views(View(128, random=True, flip=True, scale=(0.2, 1.0)), View(128))
SUITE = replace(
    FINE_GRAINED,
    name="fine-128",
    title="Fine-grained sets at 128 pixels",
    text="five fine-grained sets at 128 pixels, accuracy and its mean",
    domains={
        name: replace(domain, views=VIEWS, box_views=None)
        for name, domain in FINE_GRAINED.domains.items()
    },
    side=146,
    views=VIEWS,
    table="",
)
