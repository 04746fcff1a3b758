"""Objects in the colours of what they are called."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps.standardize_color import transform_color

from napari_segany.layers.colours import NAMELESS, PALETTE, NameColours, colours_of


def test_a_name_has_its_colour_whatever_the_order_and_no_name_is_grey() -> None:
    assert colours_of(["nucleus", "cell"]) == colours_of(["cell", "nucleus", "cell"])
    assert colours_of(["", "cell"]) == {"": NAMELESS, "cell": PALETTE[0]}
    assert len(colours_of(map(str, range(20)))) == 21


def test_labels_of_one_name_are_alike_and_the_layers_own_colours_come_back() -> None:
    layer = Labels(np.arange(12).reshape(3, 4))
    own, colours = layer.colormap, NameColours(layer)
    shown = colours.show({1: "cell", 2: "nucleus", 3: "cell", 4: ""})
    assert shown == {"": NAMELESS, "cell": PALETTE[0], "nucleus": PALETTE[1]}
    np.testing.assert_allclose(layer.get_color(1), layer.get_color(3))
    np.testing.assert_allclose(layer.get_color(2), transform_color(PALETTE[1])[0])
    np.testing.assert_allclose(layer.get_color(9), transform_color(NAMELESS)[0])
    assert colours.show({1: "cell", 2: "cell"}) == {}
    assert layer.colormap is own
