"""The layers that prompts are made in, when they are not the user's own."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Points, Shapes

from napari_segany.layers.read import NEGATIVE, POSITIVE, SIGN
from napari_segany.layers.write import data_to_world_matrix

COLOURS = {POSITIVE: "limegreen", NEGATIVE: "red"}


def prompt_points(image: Image) -> Points:
    """An empty Points layer for clicks on an image, each with its sign."""
    return Points(
        np.zeros((0, image.ndim)),
        ndim=image.ndim,
        name="clicks",
        features={SIGN: np.zeros(0, object)},
        feature_defaults={SIGN: POSITIVE},
        face_color=SIGN,
        face_color_cycle=COLOURS,
        border_color="white",
        symbol="disc",
        size=8,
        affine=data_to_world_matrix(image),
    )


def prompt_shapes(image: Image) -> Shapes:
    """An empty Shapes layer for boxes, scribbles and rough masks on an image."""
    return Shapes(
        ndim=image.ndim,
        name="boxes and scribbles",
        features={SIGN: np.zeros(0, object)},
        feature_defaults={SIGN: POSITIVE},
        edge_color="gold",
        face_color="transparent",
        edge_width=2,
        affine=data_to_world_matrix(image),
    )
