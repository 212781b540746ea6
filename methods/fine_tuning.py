"""Fine-tuning: everything is trained on, starting from the source network."""

from decathlon.method import Method
from decathlon.recipes import Recipe


class FineTuning(Method):
    """Starts from the source network and trains all of it, one network a domain.

    Rebuffi et al., CVPR 2018: convolutions and batch normalisation (statistics too) are
    copied from the source, the head is new, and the rate is 0.1 from the start.

    ``released``: srebuffi/residual_adapters, ``train_new_task_finetuning.py``, lines
    84-124. Its optimiser applies 1e-4 to every parameter (``sgd.py``, lines 30-46), which
    is what ``paper`` does too.
    """

    paper = "Rebuffi et al., CVPR 2018"
    year = 2018
    trains = "all"
    recipes = {"paper": Recipe(), "released": Recipe(protocol="released")}
