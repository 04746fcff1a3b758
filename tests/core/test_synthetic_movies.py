"""Made-up movies: their truth is consistent, and the same seed makes the same movie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_segany.core.synthetic_movies import SyntheticMovie, movie_style, synthetic_movie


@pytest.fixture(scope="module")
def movies() -> list[SyntheticMovie]:
    return [synthetic_movie(np.random.default_rng(seed), 6, (96, 128)) for seed in range(6)]


def test_the_same_seed_makes_the_same_movie(movies: list[SyntheticMovie]) -> None:
    again = synthetic_movie(np.random.default_rng(0), 6, (96, 128))
    assert np.array_equal(again.images, movies[0].images)
    assert np.array_equal(again.labels, movies[0].labels)
    assert again.parents == movies[0].parents


def test_shapes_and_types(movies: list[SyntheticMovie]) -> None:
    for movie in movies:
        assert (movie.images.shape, movie.images.dtype) == ((6, 96, 128, 3), np.uint8)
        assert (movie.labels.shape, movie.labels.dtype) == ((6, 96, 128), np.int32)
        assert movie.images.std() > 1


def test_mothers_end_before_their_daughters_begin(movies: list[SyntheticMovie]) -> None:
    divisions = 0
    dividing = replace(movie_style(np.random.default_rng(0)), radius=8.0, divides=0.3)
    for movie in [*movies, synthetic_movie(np.random.default_rng(1), 8, (160, 160), dividing)]:
        times = {label: np.flatnonzero((movie.labels == label).any((1, 2))) for label in np.unique(movie.labels)}
        for daughter, mother in movie.parents.items():
            assert times[mother].max() < times[daughter].min()
            divisions += 1
    assert divisions > 4


def test_styles_are_kept() -> None:
    rng = np.random.default_rng(1)
    calm = replace(movie_style(rng), radius=10.0, speed=0.01, jump=0.0, divides=0.0, dies=0.0, appears=0.0)
    movie = synthetic_movie(np.random.default_rng(2), 4, (128, 128), calm)
    assert movie.parents == {}
    first, last = movie.labels[0], movie.labels[-1]
    inner = [label for label in np.unique(first[30:-30, 30:-30]) if label]
    assert inner
    assert all((last == label).any() for label in inner)
