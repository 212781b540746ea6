"""The linear probe: logistic regression to its optimum, the penalty chosen by held-out images."""

import numpy as np
import pytest
import torch
from decathlon_methods.linear_probe import LinearProbe, LinearProbeRecipe, Regression
from scipy.optimize import minimize
from scipy.special import log_softmax

from decathlon.method.base import Task
from decathlon.method.probe import Features
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import Source

CLASSES, SIZE = 3, 5


def features(count: int, noise: float = 2.0, num_held_out: int = 0) -> Features:
    """Features around a centre for each class, each number on a scale of its own."""
    drawn = torch.Generator().manual_seed(count)
    labels = torch.arange(count) % CLASSES
    values = 2.0 * torch.eye(CLASSES, SIZE)[labels]
    values = values + noise * torch.randn(count, SIZE, generator=drawn)
    scales = torch.tensor([0.01, 1.0, 10.0, 100.0, 0.0])
    return Features(3 + scales * values, labels, torch.arange(count) >= count - num_held_out)


@pytest.mark.parametrize("decay", [1.0, 0.01, 1e-4])
def test_the_optimum_is_that_of_scipy(decay: float) -> None:
    given = features(60)
    x = given.values.double().numpy()
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)

    def loss(flat: np.ndarray) -> float:
        weight, bias = flat[:-CLASSES].reshape(CLASSES, SIZE), flat[-CLASSES:]
        own = log_softmax(x @ weight.T + bias, axis=1)[np.arange(60), given.labels]
        return float(-own.mean() + decay / 2 * (weight**2).sum())

    found = minimize(loss, np.zeros(CLASSES * (SIZE + 1)), options={"gtol": 1e-7})
    model = Regression(given, CLASSES)
    for start in (1.0, decay):  # from the optimum of another penalty, as in the choice
        model.fit(start)
    assert model.loss(decay).item() == pytest.approx(found.fun, abs=1e-6)
    weight, bias = model.of_raw()
    expected = torch.from_numpy(x @ found.x[:-CLASSES].reshape(CLASSES, SIZE).T)
    logits = given.values @ weight.T + bias
    centred = [(part - part.mean(1, keepdim=True)).double() for part in (logits, expected)]
    # A bias that is the same for all classes changes nothing; with equal classes theirs differ.
    shift = torch.from_numpy(found.x[-CLASSES:] - found.x[-CLASSES:].mean())
    torch.testing.assert_close(centred[0], centred[1] + shift, atol=5e-3, rtol=5e-3)


def test_the_penalty_that_is_best_on_held_out_images_is_chosen(source: Source) -> None:
    method = LinearProbe(LinearProbeRecipe(decays=(1e-4, 100.0, 0.3)))
    network = method.build(source, [Task("dtd", CLASSES, 90)])
    assert isinstance(network, ResidualNetwork)
    network.head = torch.nn.Linear(SIZE, CLASSES)
    given = features(90, num_held_out=45)
    chosen = method.fit(network, given)
    right = {}
    for decay in (100.0, 0.3, 1e-4):
        model = Regression(given.only(~given.held_out), CLASSES)
        model.fit(decay)
        right[decay] = model.num_correct(given.only(given.held_out))
    best = max(right, key=right.__getitem__)  # of equal ones the first, the largest penalty
    assert chosen == {"decay": best, "correct": right[best], "held_out": 45}
    assert len(set(right.values())) > 1
    final = Regression(given, CLASSES)
    final.fit(best)
    torch.testing.assert_close(network.head.weight.data, final.of_raw()[0], atol=1e-3, rtol=1e-3)


def test_without_held_out_images_the_middle_penalty_is_taken(source: Source) -> None:
    method = LinearProbe()
    network = method.build(source, [Task("dtd", CLASSES, 9)])
    assert isinstance(network, ResidualNetwork)
    network.head = torch.nn.Linear(SIZE, CLASSES)
    assert method.fit(network, features(9)) == {"decay": 0.01}
