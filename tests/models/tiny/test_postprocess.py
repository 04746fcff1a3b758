from __future__ import annotations

import numpy as np
import torch

from napari_segany.core.prompts import Box
from napari_segany.models.inference_config import tiny_inference_config
from napari_segany.models.tiny.postprocess import (
    choose_masks,
    limit_to_box,
    without_crumbs,
    without_specks,
)
from napari_segany.models.windows import Window

POST = tiny_inference_config().postprocess


def test_the_surest_and_the_single_mask_lean_on_each_other():
    logits, scores = torch.randn(4, 8, 8), torch.tensor([0.99, 0.2, 0.9, 0.3])
    before = logits.clone()
    shown, same = choose_masks(logits, scores, POST)
    torch.testing.assert_close(logits, before)
    assert same is scores
    grown = logits[0] + POST.outwards
    torch.testing.assert_close(shown[0], 0.75 * grown + 0.25 * logits[2])
    torch.testing.assert_close(shown[2], (grown + logits[2]) / 2)
    torch.testing.assert_close(shown[[1, 3]], logits[[1, 3]])


class TestSpecks:
    def logits(self) -> torch.Tensor:
        logits = torch.full((2, 32, 32), -3.0)
        logits[:, 4:14, 4:14] = logits[:, 20:22, 20:22] = logits[0, 28, 28] = 2.0
        return logits

    def test_they_are_left_out(self):
        logits = self.logits()
        shown = without_specks(logits, torch.empty(0, 2, dtype=torch.long), POST.speck)
        assert (shown > 0).sum(dim=(1, 2)).tolist() == [100, 100]
        assert torch.equal(shown[:, :20], logits[:, :20])
        assert (logits > 0).sum() == 209, "what was given stays as it is"

    def test_what_was_clicked_is_none(self):
        shown = without_specks(self.logits(), torch.tensor([[21, 20], [5, 5], [0, 0]]), POST.speck)
        assert (shown > 0).sum(dim=(1, 2)).tolist() == [104, 104]

    def test_neither_is_what_is_not_much_smaller(self):
        logits = self.logits()
        logits[:, 20:24, 20:23] = 1.0
        assert (without_specks(logits, torch.empty(0, 2, dtype=torch.long), POST.speck) > 0).sum() == 224

    def test_nothing_stays_nothing(self):
        logits = torch.full((1, 8, 8), -1.0)
        assert torch.equal(without_specks(logits, torch.empty(0, 2, dtype=torch.long), POST.speck), logits)


def test_logits_are_lower_beyond_a_box():
    # a window of 16 pixels and cells of 2, magnified twice: cells are pixels of the plane, the first at (6, 6)
    logits = torch.zeros(3, 8, 8)
    lower = limit_to_box(Box(8, 7, 9, 11), logits, Window((9.5, 9.5), 2.0, 16), POST.beyond_box)
    expected = np.full((8, 8), -POST.beyond_box, np.float32)
    expected[2:4, 1:6] = 0
    assert (lower.numpy() == expected).all()
    assert not logits.any()


def test_what_a_text_names_has_no_crumbs():
    pixels = np.zeros((80, 80), bool)
    pixels[2:22, 2:22] = pixels[30:50, 2:22] = pixels[2:8, 40:46] = True
    crumbs = pixels.copy()
    crumbs[60, 60:70] = crumbs[70:72, 10:13] = True
    np.testing.assert_array_equal(without_crumbs(crumbs, POST), pixels)
    only = np.zeros((20, 20), bool)
    only[3:5, 3:5] = True
    np.testing.assert_array_equal(without_crumbs(only, POST), only)
    assert not without_crumbs(np.zeros((5, 5), bool), POST).any()
