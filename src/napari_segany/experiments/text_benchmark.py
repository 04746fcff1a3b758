"""``napari-segany bench text``: objects found by their name, on sets with known present and absent names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from skimage.color import rgb2gray
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label

from napari_segany.core.attributes import measure_labels
from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.errors import InputError
from napari_segany.core.filters import Filters
from napari_segany.core.metrics import auroc, bootstrap, instance_scores, iou
from napari_segany.core.prompts import Prompt
from napari_segany.core.query import Candidates, Query, query_for, text_filters
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.text_query import Phrase, UnknownWord
from napari_segany.engine.crop_ranking import ranked
from napari_segany.experiments.benchmark import commit
from napari_segany.experiments.datasets import MIN_PIXELS, targets
from napari_segany.experiments.named_sets import TRUTH, TextQueryCase, text_cases
from napari_segany.experiments.scores import Row
from napari_segany.experiments.simulated_users import TOGETHER
from napari_segany.models.text.text_prompter import TextPath

METHODS = ("text", "crops", "otsu")
"""Ways to find what a name means: text prompts on seeds, automatic masks by their crops, Otsu's brighter or darker
class by name. The first is what the program does by default."""
PROMPTED = ("text", "picture")
"""Ways that enter the model. For "picture" the vector of a name is replaced by the mean of those of crops of objects,
which are on the first plane that has some; this is not measured."""
KNOWN = (*METHODS, "picture")
EXAMPLES = 5
"""Objects whose crops stand for a name."""

Automatic = tuple[Sequence[Candidate], np.ndarray | None]

CLICKED = 24
"""Objects of a plane that are clicked on, drawn with a fixed seed."""
DARK = 96
"""Median gray value from which on Otsu's darker class is taken for the objects: the picture is bright."""


@dataclass(slots=True, eq=False)
class _Tally:
    """What one method reached on one class of a set: a number for each plane."""

    iou: list[float] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    both: list[np.ndarray] = field(default_factory=list)
    click: list[np.ndarray] = field(default_factory=list)


def rows_of_text(
    data: Path,
    load: Callable[[], Segmenter],
    sets: Sequence[str] = (),
    methods: Sequence[str] = METHODS,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Measure prompts by text.

    Parameters
    ----------
    data : Path
        Folder that holds the folders of the sets.
    load : callable
        Makes the segmenter.
    sets : sequence of str
        Which of ``TRUTH``; by default all that exist.
    methods : sequence of str
        Which of ``KNOWN``. "text:tokens", "picture:both" and so on have the text enter the model by that
        :class:`~napari_segany.models.text.text_prompter.TextPath`, "text" as the head was trained.
    limit : int, optional
        Take the first planes of each set only.
    progress : callable, optional
        Called with the number of planes done.

    Returns
    -------
    list of dict
        A row for each set, class, method and path: ``bench``, ``set``, ``model``, ``device``, ``commit``, ``class``,
        ``method``, ``path``; ``iou`` (of all that is named, mean over the planes where it is; for "text" of the
        answer to the text alone, for the others of the union of what was found), ``ap50`` and ``msa`` (as in
        ``bench everything``), ``auroc`` (presence on the set's planes against words that are known to be absent there;
        the rivals' presence is their best score), ``iou_with_click`` (mean over objects of a click in the middle with
        the text), ``iou_click`` (without it), ``click_low`` (lower end of the 95% bootstrap interval of the
        difference, paired, over planes), ``images`` and ``n``. The row of set and class "all" has the ``auroc`` over
        all words and sets. ``silent`` is the share of absent words for which nothing is found.

    Raises
    ------
    InputError
        The data cannot be used, or a set or method is unknown.
    ModelError
        From `load`, or the model takes no text.
    """
    return list(measured_text(data, load, sets, methods, limit, progress))


def measured_text(
    data: Path,
    load: Callable[[], Segmenter],
    sets: Sequence[str] = (),
    methods: Sequence[str] = METHODS,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Row]:
    """Yield the rows of :func:`rows_of_text`, those of a set when it is done; parameters and errors are its own."""
    chosen = list(sets) or [name for name in TRUTH if (data / name).is_dir()]
    unknown = sorted(set(chosen) - set(TRUTH))
    if unknown or not chosen:
        wrong = ", ".join(unknown) or f"{data}, which holds no known set"
        raise InputError(f"cannot measure {wrong}; sets: {', '.join(TRUTH)}")
    ways = _ways(methods)
    segmenter = load()
    bench = _Bench(segmenter, ways)
    common = {
        "bench": "text",
        "model": segmenter.name,
        "device": segmenter.capabilities.device,
        "commit": commit(),
    }
    done = 0
    for name in chosen:
        # (by the name that was given: the folder may be a link to one that is called otherwise)
        for one in islice(text_cases(data / name, name), limit):
            bench.take(name, one)
            done += 1
            if progress is not None:
                progress(done)
        yield from ({**common, **row} for row in bench.rows_of_set(name))
    yield from ({**common, **row} for row in bench.rows_of_all())


Way = tuple[str, str]
"""A method, and the path of the text, empty for methods without one."""


def _ways(methods: Sequence[str]) -> tuple[Way, ...]:
    """Split methods into what they are called and their paths, "text:tokens" into "text" and "tokens"."""
    found = []
    for one in methods:
        name, _, path = one.partition(":")
        if name not in KNOWN or (path and (name not in PROMPTED or path not in list(TextPath))):
            raise InputError(
                f"cannot measure the method {one}; known: {', '.join(KNOWN)}, "
                f"and of text and picture the paths {', '.join(TextPath)}"
            )
        found.append((name, path))
    return tuple(found)


class _Bench:
    """Search planes for words, and collect the figures."""

    def __init__(self, segmenter: Any, ways: Sequence[Way]) -> None:
        self.segmenter = segmenter
        self.texts = segmenter.known_texts()
        self.ways = [(method, path or str(self.texts.path) if method in PROMPTED else "") for method, path in ways]
        self.pictures: dict[tuple[str, str], np.ndarray] = {}
        self.tallies: dict[tuple[str, str, Way], _Tally] = {}
        self.presence: dict[tuple[str, str, Way], tuple[list[float], list[float]]] = {}
        self.silent: dict[tuple[str, Way], list[bool]] = {}

    def take(self, group: str, one: TextQueryCase) -> None:
        """Measure a plane."""
        embedding = self.segmenter.embed(one.plane)
        crops = any(method == "crops" for method, _ in self.ways)
        automatic = self._automatic(one.plane, embedding) if crops else ([], None)
        for word, there in one.truth.items():
            named = self._phrases(word)
            example = self._learn(group, word, one) if there else False
            for way in self.ways:
                if way[0] == "picture" and (example or (group, word) not in self.pictures):
                    continue
                if way[1]:
                    self.segmenter.texts = self._texts(group, word, way)
                known = [Phrase(word)] if way[0] == "picture" else named
                labels, score = self._found(way[0], one.plane, embedding, automatic, known)
                lists = self.presence.setdefault((group, word, way), ([], []))
                lists[0 if there else 1].append(score)
                if not there:
                    self.silent.setdefault((group, way), []).append(not labels.any())
                truth = one.labels.get(word)
                if truth is not None and there and known:
                    tally = self.tallies.setdefault((group, word, way), _Tally())
                    union = labels > 0
                    if way[0] in PROMPTED:
                        union = self._by_text(tally, embedding, truth, known[0].name)
                    tally.iou.append(iou(union, truth > 0))
                    tally.scores.append(instance_scores(labels, truth, smallest=MIN_PIXELS))
                self.segmenter.texts = self.texts

    def _learn(self, group: str, word: str, one: TextQueryCase) -> bool:
        """Take a plane as the example of a word, if it is the first with objects of that name; whether it was."""
        objects = targets(one.labels[word])[:EXAMPLES] if word in one.labels else []
        wanted = any(method == "picture" for method, _ in self.ways)
        if not wanted or not objects or (group, word) in self.pictures:
            return False
        windows, masks = [each.window for each in objects], [each.mask for each in objects]
        self.pictures[group, word] = self.texts.clip.crop_vectors(one.plane, windows, masks)
        return True

    def _texts(self, group: str, word: str, way: Way) -> Any:
        """What a way searches with."""
        texts = self.texts.with_path(TextPath(way[1]))
        return texts if way[0] == "text" else texts.with_pictures({word: self.pictures[group, word]})

    def _by_text(self, tally: _Tally, embedding: ImageEmbedding, truth: np.ndarray, name: str) -> np.ndarray:
        """Return the mask of the text alone, and count single clicks with the text and without."""
        both, click = clicked_with(self.segmenter, embedding, truth, name)
        tally.both.append(both)
        tally.click.append(click)
        pixels: np.ndarray = self.segmenter.segment(embedding, [Prompt(text=name)])[0][0].pixels
        return pixels

    def _phrases(self, word: str) -> list[Phrase]:
        try:
            found: list[Phrase] = self.texts.phrases(word)
        except UnknownWord:
            return []
        return found

    def _automatic(self, plane: np.ndarray, embedding: ImageEmbedding) -> Automatic:
        """Automatic masks and the vectors of their crops, which are those of every word."""
        query = query_for(self.segmenter)
        good = query.passing(query.candidates(self.segmenter, plane, embedding=embedding, final=True))
        return good, self.texts.clip.crop_vectors(plane, [one.window for one in good], [one.mask for one in good])

    def _found(
        self,
        method: str,
        plane: np.ndarray,
        embedding: ImageEmbedding,
        automatic: Automatic,
        known: list[Phrase],
    ) -> tuple[np.ndarray, float]:
        """Labels of what is named, and how surely it is there; a word that is not known is surely not."""
        nothing = np.zeros(plane.shape[:2], int)
        if method == "otsu":
            return named_by_otsu(plane), 1.0
        if not known:
            return nothing, 0.0
        if method == "crops":
            found = ranked(plane, automatic[0], known, self.texts.clip, automatic[1])
            query = Query(phrases=tuple(known), filters=Filters(stability=0.0))
            return query.select(Candidates.of(plane, found, ranked=True)).labels, max(
                (one.score for one in found), default=0.0
            )
        presence = float(self.segmenter.found(embedding, known[0]).presence)
        query = Query(phrases=tuple(known), filters=text_filters(self.segmenter))
        return query.select(query.candidates(self.segmenter, plane, embedding=embedding, final=True)).labels, presence

    def rows_of_set(self, name: str) -> Iterator[Row]:
        """Yield the figures of a set, a row for each class, method and path."""
        for (group, word, way), tally in self.tallies.items():
            if group != name:
                continue
            scores = np.array(tally.scores)
            absent = [s for (g, _, m), (_, no) in self.presence.items() if (g, m) == (group, way) for s in no]
            row: Row = {
                "set": group,
                "class": word,
                "method": way[0],
                "path": way[1],
                "iou": float(np.mean(tally.iou)),
                "ap50": float(scores[:, 0].mean()),
                "msa": float(scores.mean()),
                "auroc": _area(self.presence[group, word, way][0], absent),
                "silent": _share(self.silent.get((group, way), [])),
                "images": len(tally.iou),
            }
            yield row | (_click_figures(tally) if tally.both else {})

    def rows_of_all(self) -> Iterator[Row]:
        """Yield the presence over all sets, a row for each method and path."""
        for way in self.ways:
            both: tuple[list[float], list[float]] = ([], [])
            for (_, _, m), lists in self.presence.items():
                if m == way:
                    both[0].extend(lists[0])
                    both[1].extend(lists[1])
            silent = [one for (_, m), found in self.silent.items() if m == way for one in found]
            row = {"set": "all", "class": "all", "method": way[0], "path": way[1]}
            yield {**row, "auroc": _area(*both), "silent": _share(silent)}


def _area(present: Sequence[float], absent: Sequence[float]) -> float:
    """AUROC of the presence; NaN where no word is known to be absent."""
    return auroc(np.array(present), np.array(absent)) if present and absent else float("nan")


def _share(found: Sequence[bool]) -> float:
    return float(np.mean(found)) if found else float("nan")


def _click_figures(tally: _Tally) -> Row:
    both, click = np.concatenate(tally.both), np.concatenate(tally.click)
    pairs = [(b - c) for b, c in zip(tally.both, tally.click, strict=True) if len(b)]
    low = bootstrap(np.array([p.sum() for p in pairs]), np.array([len(p) for p in pairs]))[0]
    return {"iou_with_click": float(both.mean()), "iou_click": float(click.mean()), "click_low": low, "n": len(both)}


def clicked_with(
    segmenter: Segmenter, embedding: ImageEmbedding, truth: np.ndarray, word: str
) -> tuple[np.ndarray, np.ndarray]:
    """IoU of each object for a click in its middle with a text and without, the most confident mask of each."""
    both: list[float] = []
    alone: list[float] = []
    objects = targets(truth)
    if len(objects) > CLICKED:
        drawn = np.random.default_rng(0).choice(len(objects), CLICKED, replace=False)
        objects = [objects[index] for index in sorted(drawn)]
    for start in range(0, len(objects), TOGETHER):
        group = objects[start : start + TOGETHER]
        for results, text in ((both, word), (alone, "")):
            answers = segmenter.segment(embedding, [Prompt((one.point,), text=text) for one in group])
            results += [one.iou(masks[0].pixels) for one, masks in zip(group, answers, strict=True)]
    return np.array(both), np.array(alone)


def named_by_otsu(plane: np.ndarray) -> np.ndarray:
    """What is bright on a dark ground, or dark on a bright one, in the view of Otsu: (y, x) labels."""
    gray = gaussian(rgb2gray(plane), 1.0)
    bright = gray > (threshold_otsu(gray) if gray.min() < gray.max() else gray.min())
    found: np.ndarray = label(~bright if np.median(plane) > DARK else bright)
    return found


def attribute_rows(
    data: Path, load: Callable[[], Segmenter], texts: Sequence[tuple[str, str]], limit: int | None = None
) -> list[Row]:
    """Measure how well attributes select, compared with the same rules on the true objects.

    Parameters
    ----------
    data : Path
        Folder that holds the folders of the sets.
    load : callable
        Makes the segmenter.
    texts : sequence of pair of str
        A set, and a text with attributes.
    limit : int, optional
        Take the first planes of each set only.

    Returns
    -------
    list of dict
        ``set``, ``text``, ``precision``, ``recall`` and ``f1`` of the objects that were found at an IoU of 0.5, over
        all planes; ``all_f1`` is that of the name without attributes against the same truth; ``n`` true objects.
    """
    return list(measured_attributes(data, load, texts, limit))


def measured_attributes(
    data: Path, load: Callable[[], Segmenter], texts: Sequence[tuple[str, str]], limit: int | None = None
) -> Iterator[Row]:
    """Yield the rows of :func:`attribute_rows` one by one; parameters and errors are its own."""
    segmenter: Any = load()
    for group, text in texts:
        phrase = segmenter.known_texts().phrases(text)[0]
        counts = np.zeros((2, 3), int)
        for one in islice(text_cases(data / group, group), limit):
            truth = one.labels[phrase.name]
            numbers, found = measure_labels(one.plane, truth)
            wanted = np.where(np.isin(truth, numbers[found.satisfying(phrase.attributes, phrase.lacking)]), truth, 0)
            phrases = (phrase, Phrase(phrase.name))
            query = Query(phrases=phrases, filters=text_filters(segmenter))
            candidates = query.candidates(segmenter, one.plane, final=True)
            for number, single in enumerate(phrases):
                counts[number] += _matches(replace(query, phrases=(single,)).select(candidates).labels, wanted)
        (hit, ours, theirs), bare = counts[0], counts[1]
        row = {
            "bench": "text",
            "set": group,
            "text": text,
            "precision": hit / max(ours, 1),
            "recall": hit / max(theirs, 1),
        }
        yield {
            **row,
            "f1": 2 * hit / max(ours + theirs, 1),
            "all_f1": 2 * bare[0] / max(bare[1] + bare[2], 1),
            "n": int(theirs),
        }


def _matches(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Objects found at an IoU of 0.5, objects found, true objects; those of fewer than ``MIN_PIXELS`` do not count."""
    ours, theirs = targets(found) if found.any() else [], targets(truth) if truth.any() else []
    score = float(instance_scores(found, truth, (0.5,), smallest=MIN_PIXELS)[0])
    # TP / (TP + FP + FN), and both sides are known.
    hits = round(score * (len(ours) + len(theirs)) / (1 + score)) if ours and theirs else 0
    return np.array([hits, len(ours), len(theirs)])
