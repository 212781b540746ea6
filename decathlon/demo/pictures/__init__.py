"""What the domains of a suite look like in the demo: one module a subject, each with its drawer."""

from importlib import import_module

from decathlon.demo.pictures.drawer import Drawer
from decathlon.suites.base import Suite


def drawers(suite: Suite) -> dict[str, Drawer]:
    """Returns the drawer of each domain, in the module that :attr:`Domain.drawing` names."""
    return {
        name: import_module(f"{__name__}.{domain.drawing}").DRAWER
        for name, domain in suite.domains.items()
    }
