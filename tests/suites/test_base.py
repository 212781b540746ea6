"""What a suite answers about its own domains and about a user's."""

from dataclasses import replace

import pytest

from decathlon.common.errors import UsageError
from decathlon.recipes import Recipe, by_size
from decathlon.suites.base import View, Views
from decathlon.suites.score import Score, domain_points
from decathlon.suites.visual_decathlon import AUGMENTED, SUITE, UPRIGHT


def test_evaluation_cuts_the_same_size_at_the_centre() -> None:
    assert AUGMENTED.train == View(64, random=True, flip=True)
    assert AUGMENTED.test == View(64)
    assert Views(View(72), View(72)) == UPRIGHT


def test_views_of_a_domain_and_of_ones_own() -> None:
    assert SUITE.views_of("gtsrb") == UPRIGHT
    assert SUITE.views_of("birds") == AUGMENTED
    own = replace(SUITE, views=UPRIGHT)
    assert own.views_of("birds") == UPRIGHT
    assert own.views_of("dtd") == AUGMENTED


def test_a_domain_that_is_not_listed_is_medium() -> None:
    recipe = Recipe(weight_decay=by_size(large=1.0, medium=2.0, small=3.0)).on(SUITE)
    assert recipe.decay("imagenet12") == 1.0
    assert recipe.decay("birds") == 2.0


def test_an_unknown_domain_suggests_the_nearest() -> None:
    SUITE.check("dtd")
    with pytest.raises(UsageError, match=r"unknown domain 'svnh', did you mean 'svhn'"):
        SUITE.check("svnh")


def test_targets_are_all_but_the_source() -> None:
    assert set(SUITE.domains) - set(SUITE.targets()) == {SUITE.source}
    assert replace(SUITE, source=None).targets() == tuple(SUITE.domains)


def test_official_archives_hold_each_domain_once() -> None:
    assert SUITE.official[0] is SUITE.annotations
    held = [name for archive in SUITE.official for name in archive.domains]
    assert sorted(held) == sorted(SUITE.domains)
    assert replace(SUITE, annotations=None).official == SUITE.archives


def test_a_perfect_network_scores_a_thousand_in_each_domain() -> None:
    score = Score("points", {"a": 0.5, "b": 0.2})
    assert score.perfect == sum(domain_points({"a": 0.0, "b": 0.0}, score.e_max).values()) == 2000
