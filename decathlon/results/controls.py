"""The controls of methods that route images: is what a policy decides for each image worth it?"""

from typing import Annotated, Literal

from pydantic import Field

from decathlon.common.strict import StrictModel

Control = Literal["learned", "sampled", "shuffled", "mean", "tuned", "frozen", "random"]

CONTROLS: dict[Control, str] = {
    "learned": "the decisions that the method predicts with",
    "sampled": "decisions drawn for each image with its policy's probabilities",
    "shuffled": "each image takes the learned decisions of another one",
    "mean": "for every block the learned decision of most images, the same for all",
    "tuned": "every routed block tuned",
    "frozen": "every routed block frozen",
    "random": "every block tuned with its mean probability, whatever the image",
}
"""What each control evaluates a trained network with, in words."""
DRAWN: tuple[Control, ...] = ("sampled", "random")
"""Controls that draw decisions, of which several can be averaged."""


class Routing(StrictModel):
    """How the blocks of a trained network were chosen when it was evaluated as a control.

    Attributes:
        control: One of :data:`CONTROLS`.
        routes: Draws whose softmax probabilities are averaged.
        weights: Name in the results of the trials whose networks were evaluated.
    """

    control: Control
    routes: Annotated[int, Field(ge=1)] = 1
    weights: Annotated[str, Field(min_length=1)]


def control_name(control: Control, routes: int) -> str:
    """Returns a short name: ``shuffled``, or ``sampled-5`` for five routes."""
    return control if routes == 1 else f"{control}-{routes}"
