"""kNN: the votes of the nearest training images, weighted by their similarity."""

import math

import pytest
import torch
from decathlon_methods.knn import KNN, KNNRecipe
from torch.nn.functional import cosine_similarity

from decathlon.method.base import Task
from decathlon.method.probe import Features
from decathlon.method.stored import count_parameters
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import Source

COUNT, CLASSES = 30, 4


@pytest.mark.parametrize("k", [1, 7, 100])
def test_votes_are_those_of_the_nearest(k: int, source: Source) -> None:
    method = KNN(KNNRecipe(k=k))
    network = method.build(source, [Task("dtd", CLASSES, COUNT)])
    assert isinstance(network, ResidualNetwork)
    size = source.network().head.in_features
    values, labels = torch.randn(COUNT, size), torch.arange(COUNT) % CLASSES
    assert method.fit(network, Features(values, labels, labels < 0)) == {}
    asked = torch.randn(5, size)
    shares = network.head(asked).exp()
    for x, share in zip(asked, shares, strict=True):
        similarity = cosine_similarity(x[None], values)
        votes = [0.0] * CLASSES
        for place in similarity.argsort(descending=True)[:k].tolist():
            votes[int(labels[place])] += math.exp(float(similarity[place]) / 0.07)
        assert share.tolist() == pytest.approx([v / sum(votes) for v in votes], abs=1e-5)


def test_stored_features_count_as_the_domains(source: Source) -> None:
    network = KNN().build(source, [Task("dtd", CLASSES, COUNT)])
    counted = count_parameters(KNN(), network, source)
    size = source.network().head.in_features
    assert (counted.domain, counted.head) == (32 * COUNT * (size + 1), 0)
    assert counted.shared == counted.source
