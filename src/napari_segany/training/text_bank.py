"""Vectors of crops and of names, computed once by a CLIP, for the training of what texts need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from napari_segany.models.text.clip import VIEWS, Clip
from napari_segany.training.named_images import BACKGROUND, PARENTS
from napari_segany.training.text_views import load_view


class TextBank:
    """Vectors of the crops of all views and of all names, computed once by a CLIP and kept.

    Parameters
    ----------
    images : dict of str to ndarray
        For each name (n, d) vectors of objects.
    own : dict of str to ndarray
        For each view's name (K, d) vectors of its objects.
    texts : dict of str to ndarray
        For each name (m, d) vectors of its descriptions, the first the mean.
    """

    def __init__(
        self, images: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray], texts: Mapping[str, np.ndarray]
    ) -> None:
        self.images, self.own, self.texts = images, own, texts

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean vectors (d,) of texts and of images, every name weighing the same."""
        names = [name for name in self.texts if name in self.images]
        text = np.mean([self.texts[name][0] for name in names], axis=0)
        return text, np.mean([self.images[name].mean(0) for name in names], axis=0)

    def some(self, count: int) -> np.ndarray:
        """At most `count` vectors of crops of each name, (n, d)."""
        rng = np.random.default_rng(0)
        return np.concatenate([rows[rng.permutation(len(rows))[:count]] for rows in self.images.values()])

    @property
    def spread(self) -> np.ndarray:
        """(d, d): normal numbers times it differ as vectors of one name do, with a mean squared length of 1."""
        parts = [rows - rows.mean(0) for rows in self.images.values() if len(rows) > 4]
        rows = np.concatenate([part[:400] for part in parts])
        covariance = rows.T @ rows / len(rows) + 1e-6 * np.eye(rows.shape[1])
        root = np.linalg.cholesky(covariance / np.trace(covariance))
        return root.T.astype(np.float32)


def make_bank(clip: Clip, paths: Sequence[Path], path: Path) -> TextBank:
    """Vectors of all crops and names, made once and kept in a file.

    Parameters
    ----------
    clip : Clip
        Whose vectors.
    paths : sequence of Path
        Views.
    path : Path
        Where they are kept.
    """
    if not path.is_file():
        arrays: dict[str, np.ndarray] = {}
        for one in paths:
            view = load_view(one)
            crops = torch.from_numpy(view.crops).float().to(clip.device)
            with torch.inference_mode():
                seen = [clip.image_vectors(crops[v], alone=alone) for v, (_, alone) in enumerate(VIEWS)]
            arrays[f"own_{one.stem}"] = F.normalize(torch.stack(seen).mean(0), dim=-1).cpu().numpy()
        np.savez(path, **arrays)  # type: ignore[arg-type]
    with np.load(path) as file:
        own = {key.removeprefix("own_"): file[key] for key in file.files}
    images: dict[str, list[np.ndarray]] = {}
    for one in paths:
        view = load_view(one)
        for vector, (level, label) in zip(own[one.stem], view.objects, strict=True):
            name = view.names[level][label]
            for each in (name, *PARENTS.get(name, ())):
                images.setdefault(each, []).append(vector)
    texts = {name: _texts(clip, name) for name in (*images, BACKGROUND)}
    return TextBank({name: np.stack(rows) for name, rows in images.items()}, own, texts)


def _texts(clip: Clip, name: str) -> np.ndarray:
    term = clip.vocabulary.terms.get(name) if clip.vocabulary is not None else None
    words = term.english if term is not None else (name,)
    return np.stack([clip.name_vector(name), *clip.text_vectors(list(words))])
