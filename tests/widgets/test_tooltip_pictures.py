"""Pictures in tooltips."""

from __future__ import annotations

import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from napari_segany.core.clean_up import CleanUp
from napari_segany.widgets.panels.clean_up_panel import TIPS, tip_of
from napari_segany.widgets.panels.prompt_panel import PromptPanel
from napari_segany.widgets.tooltip_pictures import COLOURS, ZOOM, clicked, disc, drawing, with_pictures


def pictures(tip: str) -> list[np.ndarray]:
    return [np.asarray(Image.open(BytesIO(b64decode(found)))) for found in re.findall(r"base64,([^']+)'", tip)]


def test_drawings_come_back_from_the_tooltip() -> None:
    shown = clicked(drawing(disc(20, 14, 9), disc(20, 26, 9)), (20, 14))
    (picture,) = pictures(with_pictures("words", [shown], ["off"]))
    np.testing.assert_array_equal(picture[::ZOOM, ::ZOOM], COLOURS[shown])


@pytest.mark.usefixtures("qapp")
def test_switches_of_prompts_are_shown_off_and_on() -> None:
    panel = PromptPanel()
    for switch in (panel._overwrite, panel._several):
        off, on = pictures(switch.toolTip())
        assert (off != on).any()


@pytest.mark.usefixtures("qapp")
@pytest.mark.parametrize("how", CleanUp)
def test_corrections_are_shown_before_and_after(how: CleanUp) -> None:
    before, after = pictures(tip_of(how))
    assert (before != after).any()
    assert TIPS[how] in tip_of(how)
