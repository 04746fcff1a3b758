"""Which models there are, where their weights come from, and under which licence."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs
import pooch

from napari_segany.core.errors import InputError, ModelError

SAM = "Kirillov et al. 2023, Segment Anything, ICCV, arXiv:2304.02643"
MOBILE_SAM = "Zhang et al. 2023, Faster Segment Anything, arXiv:2306.14289"
MICRO_SAM = "Archit et al. 2025, Segment Anything for Microscopy, Nature Methods 22, 579-591"
PATHO_SAM = "Griebel et al. 2025, Segment Anything for Histopathology, arXiv:2502.00408"
MEDICO_SAM = "Archit et al. 2025, MedicoSAM, arXiv:2501.11734"

OWN_MODELS = "SEGANY_MODELS"
"""Environment variable that names another folder for the models that the user trained."""

EXPECTED_IOU: Mapping[str, float] = {"vit_b": 0.5, "vit_t": 0.5, "vit_b_lm": 0.5}
"""The least IoU that ``models check`` should reach, on the clearest nucleus of the sample, with some published models.

Set low, from what the models are made for: no one has run it on the published files yet."""

RECORDED = "recorded_as"
"""Of the entry in the metadata of weights: the digest of the file before its metadata were changed."""

_MEGABYTES = {"vit_t": 41, "vit_b": 375, "vit_l": 1249, "vit_h": 2564}
"""What the weights of an architecture take in single precision, which is how they are published."""

_FACEBOOK = "https://dl.fbaipublicfiles.com/segment_anything"
_BIOIMAGE = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"
_OWNCLOUD = "https://owncloud.gwdg.de/index.php/s"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One set of weights.

    Parameters
    ----------
    name : str
        Name of the model, as the user writes it.
    architecture : str
        "tiny", "vit_b", "vit_l", "vit_h" or "vit_t".
    domain : str
        What it was trained on, in a few words.
    url : str
        Where the weights are published; empty for the embedded model.
    hash : str
        "algorithm:digest" of the file as pooch understands it; empty for the embedded model.
    bytes : int, optional
        Size of the file where it is known.
    licence : str
        Licence of the weights, or where it is stated.
    citation : str
        Reference to cite.
    embedded : bool
        True when the weights ship with this package.
    own : bool
        True when the user trained them, see :func:`own_models`.
    """

    name: str
    architecture: str
    domain: str
    url: str
    hash: str
    bytes: int | None
    licence: str
    citation: str
    embedded: bool = False
    own: bool = False

    @property
    def size(self) -> str:
        """How large the file is, in words."""
        if self.embedded:
            return "in the package"
        if self.own:
            return "on this computer"
        return f"{self.bytes / 1e6:.0f} MB" if self.bytes else f"about {_MEGABYTES[self.architecture]} MB"

    @property
    def path(self) -> Path:
        """Where the weights are, or would be once fetched."""
        if self.embedded:
            # The package is installed as plain files, as napari needs it to be.
            return Path(str(resources.files("napari_segany.models") / "data" / self.file))
        return (own_models_folder() if self.own else weights_folder()) / self.file

    @property
    def file(self) -> str:
        """Name of the file in the folder of weights."""
        return f"{self.name}.safetensors" if self.embedded or self.own else f"{self.name}.pt"


def _sam(size: str, file: str, digest: str, length: int | None = None) -> ModelSpec:
    return ModelSpec(size, size, "natural images", f"{_FACEBOOK}/{file}", digest, length, "Apache-2.0", SAM)


def _micro_sam(name: str, domain: str, card: str, version: str, digest: str) -> ModelSpec:
    size = name[:5]
    url = f"{_BIOIMAGE}/{card}/{version}/files/{size}.pt"
    return ModelSpec(
        name, size, domain, url, f"xxh128:{digest}", None, f"see the card {card} on bioimage.io", MICRO_SAM
    )


def _owncloud(name: str, domain: str, share: str, digest: str, citation: str) -> ModelSpec:
    url = f"{_OWNCLOUD}/{share}/download"
    return ModelSpec(name, name[:5], domain, url, f"xxh128:{digest}", None, "see the model's card", citation)


_LM, _EM = "light microscopy: cells and nuclei", "electron microscopy: mitochondria and nuclei"
_HE, _MED = "histopathology", "medical imaging"

_MODELS = (
    ModelSpec(
        name="tiny",
        architecture="tiny",
        domain="microscopy",
        url="",
        hash="",
        bytes=None,
        licence="BSD-3-Clause",
        citation="the tiny model of napari-segany, after Kirillov et al. 2023, arXiv:2304.02643",
        embedded=True,
    ),
    _sam(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        "sha256:ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
    ),
    _sam("vit_l", "sam_vit_l_0b3195.pth", "xxh128:a82beb3c660661e3dd38d999cc860e9a"),
    _sam("vit_h", "sam_vit_h_4b8939.pth", "xxh128:97698fac30bd929c2e6d8d8cc15933c2"),
    ModelSpec(
        name="vit_t",
        architecture="vit_t",
        domain="natural images",
        url=f"{_OWNCLOUD}/TuDzuwVDHd1ZDnQ/download",
        hash="xxh128:8eadbc88aeb9d8c7e0b4b60c3db48bd0",
        bytes=None,
        licence="Apache-2.0",
        citation=MOBILE_SAM,
    ),
    _micro_sam("vit_l_lm", _LM, "idealistic-rat", "1.2", "017f20677997d628426dec80a8018f9d"),
    _micro_sam("vit_b_lm", _LM, "diplomatic-bug", "1.2", "fe9252a29f3f4ea53c15a06de471e186"),
    _micro_sam("vit_t_lm", _LM, "faithful-chicken", "1.1", "72ec5074774761a6e5c05a08942f981e"),
    _micro_sam("vit_l_em_organelles", _EM, "humorous-crab", "1.2", "810b084b6e51acdbf760a993d8619f2d"),
    _micro_sam("vit_b_em_organelles", _EM, "noisy-ox", "1.2", "f3bf2ed83d691456bae2c3f9a05fb438"),
    _micro_sam("vit_t_em_organelles", _EM, "greedy-whale", "1", "253474720c497cce605e57c9b1d18fd9"),
    _owncloud("vit_b_histopathology", _HE, "sBB4H8CTmIoBZsQ", "ffd1a2cd84570458b257bd95fdd8f974", PATHO_SAM),
    _owncloud("vit_l_histopathology", _HE, "IZgnn1cpBq2PHod", "b591833c89754271023e901281dee3f2", PATHO_SAM),
    _owncloud("vit_h_histopathology", _HE, "L7AcvVz7DoWJ2RZ", "bd1856dafc156a43fb3aa705f1a6e92e", PATHO_SAM),
    _owncloud("vit_b_medical_imaging", _MED, "f5Ol4FrjPQWfjUF", "40169f1e3c03a4b67bff58249c176d92", MEDICO_SAM),
)


def weights_folder() -> Path:
    """The folder that downloaded weights are kept in; not created here."""
    return Path(pooch.os_cache("napari-segany"))


def own_models_folder() -> Path:
    """The folder of the models that the user trained; not created here."""
    given = os.environ.get(OWN_MODELS)
    return Path(given) if given else Path(platformdirs.user_data_path("napari-segany", appauthor=False)) / "models"


def _recorded_own_model(name: str, known: Mapping[str, ModelSpec]) -> ModelSpec | None:
    """A model of the user's by the name that sessions record, which ends in a hash of its file."""
    stem, _, digest = name.rpartition("-")
    spec = known.get(stem)
    same = spec is not None and spec.own and digest == file_digest(spec.path)
    return spec if same else None


def file_digest(path: Path) -> str:
    """Eight digits that tell weights of one name apart, by which sessions and embeddings know them.

    Those of the file, or the ones that its metadata keep from before they were changed.
    """
    from napari_segany.models.inference_config import read_metadata

    known = read_metadata(path).get(RECORDED) if path.suffix == ".safetensors" else None
    return str(known) if known is not None else str(pooch.file_hash(str(path), "xxh128")[:8])


def own_models() -> tuple[ModelSpec, ...]:
    """The models that the user trained, by name; those called like a published one are left out."""
    folder, known = own_models_folder(), {spec.name for spec in _MODELS}
    names = sorted(path.stem for path in folder.glob("*.safetensors")) if folder.is_dir() else []
    return tuple(own_model(name) for name in names if name not in known)


def new_own_model(name: str) -> ModelSpec:
    """The entry of a model that is to be trained under a name.

    Raises
    ------
    InputError
        It is no name for a file, or that of a published model, which it would hide.
    """
    if not re.fullmatch(r"[\w][\w .+-]*", name):
        raise InputError(f"{name!r} is no name for a model; use letters, digits, - and _")
    if name in {spec.name for spec in _MODELS}:
        raise InputError(f"{name!r} is a published model; choose another name")
    return own_model(name)


def own_model(name: str) -> ModelSpec:
    """The entry of a model that the user trained."""
    return ModelSpec(name, "tiny", "your own masks", "", "", None, "yours", "as tiny", own=True)


def list_models() -> tuple[ModelSpec, ...]:
    """Every known model: the shipped one, those of the user, and the published ones."""
    return (_MODELS[0], *own_models(), *_MODELS[1:])


def find(name: str) -> ModelSpec:
    """Return the model of a name.

    Parameters
    ----------
    name : str
        As in :func:`list_models`.

    Raises
    ------
    ModelError
        There is no model of that name; the message lists the nearest names.
    """
    known = {spec.name: spec for spec in list_models()}
    if name in known:
        return known[name]
    own = _recorded_own_model(name, known)
    if own is not None:
        return own
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    raise ModelError(f"no model is called {name!r}; {hint}")
