"""One identity through frames: object queries that are handed on from frame to frame.

Each object of a frame is a query. What it was so far updates it (next = update(last, features) + learned), and it
attends to the objects of the next frame that may be the same. Pairs, queries and objects exchange what they know in
two layers; then each object of the next frame has a distribution over the queries and "new", each query one over the
objects and "gone", and a probability that it divides.

The idea is that of Mask2Former for video and of MOTR (Zeng et al. 2022, arXiv:2105.03247), with objects whose masks
are known; parents as a softmax for each child are those of Trackastra (Gallusser and Weigert 2024, arXiv:2405.15700).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_segany.core.errors import ModelError
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.models.inference_config import weights_hash
from napari_segany.models.mask2former.identity_features import (
    PAIRS,
    SHAPES,
    FrameObjects,
    frame_objects,
    object_pairs,
)
from napari_segany.models.registry import find

SETTINGS, FEATURES = "identity_queries", "features_of"
"""Of the entries in the metadata: sizes, and the hash of the weights whose features were learned from."""
VELOCITY = 0.5
"""Share of the last step in the velocity of an object."""


@dataclass(frozen=True)
class IdentityConfig:
    """Sizes, and from which probability on objects are linked.

    Parameters
    ----------
    content : int
        Features of an object from the maps of `tiny`.
    channels : int
        Width of queries, objects and pairs.
    layers : int
        How often they exchange what they know.
    link : float
        Least probability of a pair: the geometric mean of that of the query for the object, and the other way round.
    divide : float
        Least probability that a query divides, for a second object of it.
    daughter : float
        Least probability that an object comes from a query that divides.
    """

    content: int = 160
    channels: int = 48
    layers: int = 2
    link: float = 0.3
    divide: float = 0.5
    daughter: float = 0.5


class PairLogits(NamedTuple):
    """Logits of e pairs of n queries and m objects.

    Parameters
    ----------
    pairs : Tensor
        (e,) that the two are one, or mother and daughter.
    gone, divides : Tensor
        (n,) that a query has no object, and that it has two.
    new : Tensor
        (m,) that an object has no query.
    """

    pairs: Tensor
    gone: Tensor
    divides: Tensor
    new: Tensor


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.GELU(), nn.Linear(outputs, outputs))


def grouped_softmax(logits: Tensor, owner: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities over the pairs of each owner and a rest.

    Parameters
    ----------
    logits : Tensor
        (e,).
    owner : Tensor
        (e,) int64, which of the n owners a pair belongs to.
    rest : Tensor
        (n,) logits of "none of them".

    Returns
    -------
    tuple of Tensor
        (e,) of the pairs, and (n,) of the rest.
    """
    most = rest.detach().clone().scatter_reduce(0, owner, logits.detach(), "amax")
    total = (rest - most).exp().scatter_add(0, owner, (logits - most[owner]).exp())
    norm = total.log() + most
    return logits - norm[owner], rest - norm


class _Exchange(nn.Module):
    """Queries attend to their pairs, objects to theirs, and pairs see both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Linear(channels, 2)
        self.query = _layers(2 * channels, channels)
        self.object = _layers(2 * channels, channels)
        self.pair = _layers(3 * channels, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(self, queries: Tensor, objects: Tensor, pairs: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights = self.weight(pairs).float()
        updated = []
        for side, (nodes, update) in enumerate(((queries, self.query), (objects, self.object))):
            owner = index[:, side]
            share = grouped_softmax(weights[:, side], owner, torch.zeros(len(nodes), device=nodes.device))[0].exp()
            seen = torch.zeros_like(nodes).index_add(0, owner, (share[:, None] * pairs).to(nodes.dtype))
            updated.append(self.norms[side](nodes + update(torch.cat([nodes, seen], 1))))
        queries, objects = updated
        both = torch.cat([pairs, queries[index[:, 0]], objects[index[:, 1]]], 1)
        return queries, objects, self.norms[2](pairs + self.pair(both))


class IdentityQueries(nn.Module):
    """Queries of the objects of a frame, and which objects of the next frame they are.

    Parameters
    ----------
    config : IdentityConfig
        Sizes.
    """

    def __init__(self, config: IdentityConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels
        self.content_norm = nn.LayerNorm(config.content)
        self.content = nn.Linear(config.content, width)
        self.describe = _layers(width + SHAPES, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.learned = nn.Parameter(torch.zeros(width))
        self.update = nn.GRUCell(width, width)
        self.pair = _layers(PAIRS + 3 * width, width)
        self.exchanges = nn.ModuleList(_Exchange(width) for _ in range(config.layers))
        self.to_pair = nn.Linear(width, 1)
        self.overlap = nn.Parameter(torch.tensor([6.0, -2.0]))
        self.to_query = nn.Linear(width, 2)
        self.to_object = nn.Linear(width, 1)

    def objects(self, content: Tensor, shapes: Tensor) -> Tensor:
        """(n, content) and (n, ``SHAPES``) -> (n, channels)."""
        return self.describe(torch.cat([self.content(self.content_norm(content)), shapes], 1))

    def first(self, count: int) -> Tensor:
        """What a query is that has no past, (count, channels)."""
        return self.start.expand(count, -1)

    def handed_on(self, last: Tensor, objects: Tensor) -> Tensor:
        """Queries of objects (n, channels), from what each was before: next = update(last) + learned."""
        return self.update(objects, last.to(objects.dtype)) + self.learned

    def forward(self, queries: Tensor, objects: Tensor, index: Tensor, features: Tensor) -> PairLogits:
        """Compare queries with objects of the next frame.

        Parameters
        ----------
        queries, objects : Tensor
            (n, channels) from :meth:`handed_on`, and (m, channels) from :meth:`objects`.
        index : Tensor
            (e, 2) int64, rows of the pairs that are compared.
        features : Tensor
            (e, ``PAIRS``).
        """
        one, other = queries[index[:, 0]], objects[index[:, 1]]
        pairs = self.pair(torch.cat([features, one, other, (one - other).abs()], 1))
        for exchange in self.exchanges:
            queries, objects, pairs = exchange(queries, objects, pairs, index)
        overlap = self.overlap[0] * features[:, 0] + self.overlap[1]
        ends = self.to_query(queries).float()
        return PairLogits(
            self.to_pair(pairs)[:, 0].float() + overlap.float(),
            ends[:, 0],
            ends[:, 1],
            self.to_object(objects)[:, 0].float(),
        )


@dataclass(slots=True, eq=False)
class _Described:
    """A frame, with what its objects and their queries are to the network."""

    frame: FrameObjects
    objects: Tensor
    queries: Tensor


class IdentityAssociation:
    """Links objects by :class:`IdentityQueries`; an :class:`~napari_segany.core.link.Association`.

    Parameters
    ----------
    model : IdentityQueries
        With its weights.
    """

    def __init__(self, model: IdentityQueries) -> None:
        self.model = model.eval().requires_grad_(False)

    @torch.no_grad()
    def describe(self, labels: np.ndarray, embedding: ImageEmbedding | None) -> Any:
        """Measure the objects of a frame.

        Raises
        ------
        ModelError
            There is no embedding, or it is of another model than `tiny`.
        """
        if embedding is None:
            raise ModelError("identity queries need the embedding of each frame")
        frame = frame_objects(labels, embedding)
        objects = self.model.objects(torch.from_numpy(frame.content), torch.from_numpy(frame.shapes))
        return _Described(frame, objects, self.model.handed_on(self.model.first(len(frame)), objects))

    @torch.no_grad()
    def link(
        self, before: Any, after: Any, gap: int, among: tuple[set[int], set[int]]
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Pairs of labels that are one object, and mothers with their further daughters."""
        old, new = before.frame, after.frame
        pairs = object_pairs(old, new, gap)
        if not len(pairs.index):
            return [], []
        index = torch.from_numpy(pairs.index)
        logits = self.model(before.queries, after.objects, index, torch.from_numpy(pairs.features))
        chosen = choose(logits, pairs.index, self.model.config, _free(old, new, among))
        # a division over a gap is not told from a missed object
        daughters = [] if gap else chosen[1]
        for i, j in (*chosen[0], *daughters):
            after.queries[j] = self.model.handed_on(before.queries[i : i + 1], after.objects[j : j + 1])[0]
        for i, j in chosen[0]:
            step = (new.middles[j] - old.middles[i] - pairs.drift) / (gap + 1)
            new.velocities[j] = VELOCITY * step + (1 - VELOCITY) * old.velocities[i]
        named = [[(old.labels[i], new.labels[j]) for i, j in each] for each in (chosen[0], daughters)]
        return named[0], named[1]


def _free(old: FrameObjects, new: FrameObjects, among: tuple[set[int], set[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Which objects of both frames are free, (n,) and (m,) bool."""
    return tuple(  # type: ignore[return-value]
        np.array([label in free for label in each.labels], bool) for each, free in zip((old, new), among, strict=True)
    )


def choose(
    logits: PairLogits, index: np.ndarray, config: IdentityConfig, free: tuple[np.ndarray, np.ndarray]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The assignment of the highest total probability, and further daughters of queries that divide.

    Parameters
    ----------
    logits : PairLogits
        Of e pairs.
    index : ndarray
        (e, 2) rows of the pairs.
    config : IdentityConfig
        The least probabilities.
    free : pair of ndarray
        (n,) and (m,) bool: queries and objects that may be linked.

    Returns
    -------
    tuple of list of (int, int)
        Rows of pairs that are one, and of mothers with a further daughter, at most one each.
    """
    rows, columns = torch.from_numpy(index).T
    of_object = grouped_softmax(logits.pairs, columns, logits.new)[0].exp().numpy()
    of_query = grouped_softmax(logits.pairs, rows, logits.gone)[0].exp().numpy()
    divides = logits.divides.sigmoid().numpy()
    open_pairs = free[0][index[:, 0]] & free[1][index[:, 1]]
    score = np.where(open_pairs, np.sqrt(of_object * of_query), 0)
    # a mother's probability is shared by her daughters
    shared = open_pairs & (divides[index[:, 0]] >= config.divide) & (of_object >= config.daughter)
    score = np.where(shared, np.maximum(score, of_object), score)
    table = np.zeros((len(free[0]), len(free[1])), np.float32)
    table[index[:, 0], index[:, 1]] = np.where(score >= config.link, score, 0)
    chosen = [
        (int(i), int(j)) for i, j in zip(*scipy.optimize.linear_sum_assignment(-table), strict=True) if table[i, j] > 0
    ]
    taken, mothers = {j for _, j in chosen}, {i for i, _ in chosen}
    daughters: dict[int, tuple[float, int]] = {}
    for (i, j), good, value in zip(index.tolist(), shared.tolist(), of_object.tolist(), strict=True):
        if good and i in mothers and j not in taken and value > daughters.get(i, (0.0, 0))[0]:
            daughters[i] = value, j
    return chosen, [(i, j) for i, (_, j) in daughters.items()]


def read_identity(path: Path) -> IdentityQueries:
    """Read weights that ``napari-segany train identity`` wrote.

    Raises
    ------
    ModelError
        When the file cannot be read, or is of something else.
    """
    try:
        with safe_open(path, "pt") as file:
            settings = (file.metadata() or {}).get(SETTINGS)
        if settings is None:
            raise ModelError(f"{path} holds no identity queries")
        model = IdentityQueries(IdentityConfig(**json.loads(settings)))
        model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read as identity queries: {error}") from None
    return model.eval()


def identity_for(segmenter: Segmenter) -> IdentityAssociation | None:
    """What links objects by the features of a model; None for one whose features the weights do not know.

    That is any but `tiny` of the package, and this too while its weights are others than those that the queries were
    trained on.
    """
    path = shipped_identity()
    if segmenter.name != "tiny" or not path.is_file():
        return None
    with safe_open(path, "pt") as file:
        learned_from = (file.metadata() or {}).get(FEATURES)
    if learned_from != weights_hash(find("tiny").path):
        return None
    return IdentityAssociation(read_identity(path))


def shipped_identity() -> Path:
    """The weights in the package."""
    return Path(__file__).parents[1] / "data" / "tiny-identity.safetensors"


def identity_metadata(config: IdentityConfig, features_of: str) -> dict[str, str]:
    """The entries for the metadata of a file of weights, learned from features of a model with a hash."""
    return {SETTINGS: json.dumps(asdict(config)), FEATURES: features_of}
