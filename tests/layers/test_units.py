"""Every layer that is made for an image has its units, whatever they are and whenever they come."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.layers.desk import Desk

UNITS = {
    "micrometer": ("micrometer", "micrometer"),
    "nanometer": ("nanometer", "nanometer"),
    "stack": ("micrometer", "nanometer", "nanometer"),
    "time": ("second", "micrometer", "micrometer"),
    "pixel": ("pixel", "pixel"),
}


def units_of(desk: Desk) -> set[tuple[str, ...]]:
    return {tuple(str(unit) for unit in layer.units) for layer in desk.viewer.layers}


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_layers_have_the_units_of_their_image(units: tuple[str, ...], later: bool) -> None:
    shape = (3,) * (len(units) - 2) + (60, 80)
    scale = (2.0,) * (len(units) - 2) + (0.5, 0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        desk = Desk(np.zeros(shape, np.uint8), scale=scale, **({} if later else {"units": units}))
    desk.viewer.dims.set_current_step(0, 0)
    if later:
        desk.click(*([0] * (len(units) - 2)), 20, 30)
        assert desk.binding.keep()
        desk.image.units = units
    desk.click(*([0] * (len(units) - 2)), 40, 30)
    assert desk.binding.keep()
    assert units_of(desk) == {units}
    assert desk.labels[..., 40, 30].max() == 1 + later
    np.testing.assert_allclose(desk.binding.preview.layer.extent.step, desk.image.extent.step)
