"""Objects of an image that is an array, one for each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_segany.batch.found_objects import FoundObjects, segmenter_of
from napari_segany.batch.segment_file import check_inside, predicted_info, segment_prompts
from napari_segany.core.arguments import check_each, check_type
from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import Segmenter
from napari_segany.io.prompt_tables import PlacedPrompt


def segment_image(
    image: Any,
    prompts: Sequence[Prompt],
    *,
    model: str | Segmenter = "tiny",
    planes: int | Sequence[int] | None = None,
    names: bool = True,
) -> FoundObjects:
    """Segment an object for each prompt.

    Parameters
    ----------
    image : array-like or Stack
        (..., y, x) or (..., y, x, 3); a :class:`Stack` where axes of channels or contrast limits are to be given.
    prompts : sequence of Prompt
        One for each object, whose label is its position from 1.
    model : str or Segmenter
        A name or path, see :func:`load_segmenter`, or a segmenter that is loaded already.
    planes : int or sequence of int, optional
        The plane of all prompts, or of each, leading axes counted in C order; needed where there are several planes.
    names : bool
        Whether objects get the names that the model knows, with ``class_probability``, where it is sure enough.

    Returns
    -------
    FoundObjects
        Labels of the whole image; a pixel belongs to the first object that has it. What is known of each object.

    Raises
    ------
    InputError
        The image is no image, there is no prompt, one lies outside the image, or the planes do not fit.
    ModelError
        The model cannot be loaded.

    Examples
    --------
    >>> from skimage.data import coins
    >>> from napari_segany import Point, Prompt
    >>> found = segment_image(coins(), [Prompt((Point(45, 335),))])
    >>> bool(1000 < (found.labels == 1).sum() < 5000)
    True
    """
    stack = image if isinstance(image, Stack) else Stack(image)
    placed = _placed(stack, prompts, planes)
    segmenter = segmenter_of(model)
    labels = np.zeros((len(stack), *stack.plane_shape), np.int32)
    objects = []
    for number in sorted({one.z for one in placed}):
        here = [each for each in placed if each.z == number]
        for one, mask, window in segment_prompts(segmenter, stack, here, named=names):
            part = labels[number] if window is None else labels[number][window]
            part[mask.pixels & (part == 0)] = one.label
            objects.append(predicted_info(one.label, mask))
    objects.sort(key=lambda one: one.label)
    return FoundObjects(labels.reshape(stack.shape + stack.plane_shape), tuple(objects))


def _placed(stack: Stack, prompts: Sequence[Prompt], planes: int | Sequence[int] | None) -> list[PlacedPrompt]:
    check_each(prompts, Prompt, "prompts")
    if not len(prompts):
        raise InputError("there is no prompt; give one for each object")
    if planes is None:
        if len(stack) > 1:
            raise InputError(
                f"the image has {len(stack)} planes; set planes to the one that is meant, 0 to {len(stack) - 1}"
            )
        planes = 0
    check_type(planes, (int, np.integer, Sequence, np.ndarray), "planes")
    numbers = [planes] * len(prompts) if isinstance(planes, int | np.integer) else list(planes)
    if len(numbers) != len(prompts):
        raise InputError(f"planes has {len(numbers)} entries for {len(prompts)} prompts")
    check_each(numbers, (int, np.integer), "planes")
    placed = [
        PlacedPrompt(label, int(number), prompt)
        for label, (number, prompt) in enumerate(zip(numbers, prompts, strict=True), start=1)
    ]
    for one in placed:
        check_inside(one, stack)
    return placed
