"""Which models there are, where their weights come from, and under which licence."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import platformdirs
import pooch

from napari_segany.core.errors import InputError, ModelError
from napari_segany.models.entry_points import licence_of, package_of, registered

SAM = "Kirillov et al. 2023, Segment Anything, ICCV, arXiv:2304.02643"
MOBILE_SAM = "Zhang et al. 2023, Faster Segment Anything, arXiv:2306.14289"
MICRO_SAM = "Archit et al. 2025, Segment Anything for Microscopy, Nature Methods 22, 579-591"
PATHO_SAM = "Griebel et al. 2025, Segment Anything for Histopathology, arXiv:2502.00408"
MEDICO_SAM = "Archit et al. 2025, MedicoSAM, arXiv:2501.11734"
SAM2 = "Ravi et al. 2024, SAM 2: Segment Anything in Images and Videos, arXiv:2408.00714"
EDGETAM = "Zhou et al. 2025, EdgeTAM: On-Device Track Anything Model, arXiv:2501.07256"
SAM_HQ = "Ke et al. 2023, Segment Anything in High Quality, NeurIPS, arXiv:2306.01567"
SAM3 = "Carion et al. 2025, SAM 3: Segment Anything with Concepts, arXiv:2511.16719"

OWN_MODELS = "SEGANY_MODELS"
"""Environment variable that names another folder for the models that the user trained."""

EXPECTED_IOU: Mapping[str, float] = {"vit_b": 0.5, "vit_t": 0.5, "vit_b_lm": 0.5}
"""The least IoU that ``models check`` should reach, on the clearest nucleus of the sample, with some published models.

Set low, from what the models are made for: no one has run it on the published files yet."""

RECORDED = "recorded_as"
"""Of the entry in the metadata of weights: the digest of the file before its metadata were changed."""

WEIGHT_ENDINGS = (".safetensors", ".pt", ".pth")
"""Of files of weights."""
_CONFIG = "config.json"
_IN_WORDS = {"Apache-2.0": "any use, with the notice", "BSD-3-Clause": "any use, with the notice"}
"""What licences allow, in short."""

_MEGABYTES = {"vit_t": 41, "vit_b": 375, "vit_l": 1249, "vit_h": 2564}
"""What the weights of an architecture take in single precision, which is how they are published."""

_FACEBOOK = "https://dl.fbaipublicfiles.com/segment_anything"
_BIOIMAGE = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"
_OWNCLOUD = "https://owncloud.gwdg.de/index.php/s"
_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One set of weights.

    Parameters
    ----------
    name : str
        Name of the model, as the user writes it.
    architecture : str
        "tiny", "vit_b", "vit_l", "vit_h" or "vit_t"; of a folder the family: "sam2", "edgetam", "sam_hq" or "sam3".
    domain : str
        What it was trained on, in a few words.
    url : str
        Where the weights are published; empty for the embedded model.
    hash : str
        "algorithm:digest" of the file as pooch understands it; empty for the embedded model, and where the publisher
        states none: what was downloaded is not verified then.
    bytes : int, optional
        Size of the file where it is known.
    licence : str
        Licence of the weights, or where it is stated.
    citation : str
        Reference to cite.
    embedded : bool
        True when the weights ship with this package.
    own : bool
        True when the user trained them, or put them into the folder of own models, see :func:`own_models`.
    folder : bool
        True when it is a folder of `transformers` and not a file.
    hub : str
        Repository of the Hugging Face hub that the folder comes from.
    gated : bool
        Whether the publisher wants a licence to be accepted before the download.
    decoder_url, decoder_hash : str
        Where the decoder of micro-sam that belongs to the weights is published, and its hash; empty where none is.
    place : str
        Path of weights that the user chose where they are; empty for all others.
    package : str
        Name and version of the installed package that it is from; see :mod:`~napari_segany.models.entry_points`.
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
    folder: bool = False
    hub: str = ""
    gated: bool = False
    package: str = ""
    decoder_url: str = ""
    decoder_hash: str = ""
    place: str = ""

    @property
    def title(self) -> str:
        """What it is called in lists: the name of the file or folder where it is known by its path."""
        return Path(self.name).name if self.place else self.name

    @property
    def expected_bytes(self) -> int:
        """Size of the published weights; 0 where it is not known."""
        return self.bytes or 1_000_000 * _MEGABYTES.get(self.architecture, 0)

    @property
    def installed(self) -> bool:
        """Whether the weights are on this computer."""
        if not self.folder:
            return bool(self.package) or self.path.is_file()
        return (self.path / _CONFIG).is_file() and any(
            True for pattern in ("*.safetensors", "pytorch_model*.bin") for _ in self.path.glob(pattern)
        )

    @property
    def size(self) -> str:
        """How large the file is, in words."""
        if self.embedded:
            return "in the package"
        if self.package:
            return f"in {self.package}"
        if self.own or self.place:
            return "on this computer"
        if self.folder:
            return f"about {(self.bytes or 0) / 1e6:.0f} MB"
        return f"{self.bytes / 1e6:.0f} MB" if self.bytes else f"about {_MEGABYTES[self.architecture]} MB"

    @property
    def licence_in_words(self) -> str:
        """The licence, with what it allows where that is known."""
        words = _IN_WORDS.get(self.licence)
        return f"{self.licence}: {words}" if words else self.licence

    @property
    def path(self) -> Path:
        """Where the weights are, or would be once fetched."""
        if self.place:
            return Path(self.place)
        if self.embedded:
            # The package is installed as plain files, as napari needs it to be.
            return Path(str(resources.files("napari_segany.models") / "data" / self.file))
        return (own_models_folder() if self.own else weights_folder()) / self.file

    @property
    def decoder_path(self) -> Path:
        """Where the decoder is, or would be once fetched: next to the weights."""
        return self.path.with_name(f"{self.path.stem}_decoder{self.path.suffix}")

    @property
    def file(self) -> str:
        """Name of the file, or folder, in the folder of weights."""
        if self.folder:
            return self.name
        return f"{self.name}.safetensors" if self.embedded or self.own else f"{self.name}.pt"


def _sam(size: str, file: str, digest: str, length: int | None = None) -> ModelSpec:
    return ModelSpec(size, size, "natural images", f"{_FACEBOOK}/{file}", digest, length, "Apache-2.0", SAM)


def _micro_sam(name: str, domain: str, card: str, version: str, digests: tuple[str, str]) -> ModelSpec:
    """A model of bioimage.io, with the digests of its weights and of its decoder."""
    size, folder = name[:5], f"{_BIOIMAGE}/{card}/{version}/files"
    own, decoder = (f"xxh128:{digest}" for digest in digests)
    spec = ModelSpec(
        name, size, domain, f"{folder}/{size}.pt", own, None, f"see the card {card} on bioimage.io", MICRO_SAM
    )
    return replace(spec, decoder_url=f"{folder}/{size}_decoder.pt", decoder_hash=decoder)


def _owncloud(name: str, domain: str, shares: tuple[str, str], digests: tuple[str, str], citation: str) -> ModelSpec:
    """The same of the authors' own server: shares and digests of weights and decoder."""
    url, decoder_url = (f"{_OWNCLOUD}/{share}/download" for share in shares)
    own, decoder = (f"xxh128:{digest}" for digest in digests)
    spec = ModelSpec(name, name[:5], domain, url, own, None, "see the model's card", citation)
    return replace(spec, decoder_url=decoder_url, decoder_hash=decoder)


def _hub(name: str, repository: str, domain: str, parameters: float, citation: str) -> ModelSpec:
    """A folder of the hub with so many million weights; the file is as large as they are in single precision."""
    return ModelSpec(
        name,
        name.split(".")[0].split("_vit")[0],
        domain,
        f"{_HUB}/{repository}",
        "",
        round(4e6 * parameters),
        "Apache-2.0",
        citation,
        folder=True,
        hub=repository,
    )


_LM, _EM = "light microscopy: cells and nuclei", "electron microscopy: mitochondria and nuclei"
_HE, _MED = "histopathology", "medical imaging"
_VIDEO = "natural images and movies"

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
    _micro_sam(
        "vit_l_lm",
        _LM,
        "idealistic-rat",
        "1.2",
        ("017f20677997d628426dec80a8018f9d", "2faeafa03819dfe03e7c46a44aaac64a"),
    ),
    _micro_sam(
        "vit_b_lm",
        _LM,
        "diplomatic-bug",
        "1.2",
        ("fe9252a29f3f4ea53c15a06de471e186", "708b15ac620e235f90bb38612c4929ba"),
    ),
    _micro_sam(
        "vit_t_lm",
        _LM,
        "faithful-chicken",
        "1.1",
        ("72ec5074774761a6e5c05a08942f981e", "3e914a5f397b0312cdd36813031f8823"),
    ),
    _micro_sam(
        "vit_l_em_organelles",
        _EM,
        "humorous-crab",
        "1.2",
        ("810b084b6e51acdbf760a993d8619f2d", "334877640bfdaaabce533e3252a17294"),
    ),
    _micro_sam(
        "vit_b_em_organelles",
        _EM,
        "noisy-ox",
        "1.2",
        ("f3bf2ed83d691456bae2c3f9a05fb438", "bb6398956a6b0132c26b631c14f95ce2"),
    ),
    _micro_sam(
        "vit_t_em_organelles",
        _EM,
        "greedy-whale",
        "1",
        ("253474720c497cce605e57c9b1d18fd9", "8f897c7bb93174a4d1638827c4dd6f44"),
    ),
    _owncloud(
        "vit_b_histopathology",
        _HE,
        ("sBB4H8CTmIoBZsQ", "KO9AWqynI7SFOBj"),
        ("ffd1a2cd84570458b257bd95fdd8f974", "6a66194dcb6e36199cbee2214ecf7213"),
        PATHO_SAM,
    ),
    _owncloud(
        "vit_l_histopathology",
        _HE,
        ("IZgnn1cpBq2PHod", "oIs6VSmkOp7XrKF"),
        ("b591833c89754271023e901281dee3f2", "46aab7765d4400e039772d5a50b55c04"),
        PATHO_SAM,
    ),
    _owncloud(
        "vit_h_histopathology",
        _HE,
        ("L7AcvVz7DoWJ2RZ", "1qAKxy5H0jgwZvM"),
        ("bd1856dafc156a43fb3aa705f1a6e92e", "3ed9f87e46ad5e16935bd8d722c8dc47"),
        PATHO_SAM,
    ),
    _owncloud(
        "vit_b_medical_imaging",
        _MED,
        ("f5Ol4FrjPQWfjUF", "ahd3ZhZl2e0RIwz"),
        ("40169f1e3c03a4b67bff58249c176d92", "9e498b12f526f119b96c88be76e3b2ed"),
        MEDICO_SAM,
    ),
    # millions of weights: of SAM 2.1 and SAM 3 as their authors state them, of the others counted in random ones of
    # their configurations (scripts/adapter_speed.py)
    _hub("sam2.1_tiny", "facebook/sam2.1-hiera-tiny", f"{_VIDEO}; the fastest SAM 2.1", 38.9, SAM2),
    _hub("sam2.1_small", "facebook/sam2.1-hiera-small", f"{_VIDEO}; a little larger than tiny", 46.0, SAM2),
    _hub("sam2.1_base_plus", "facebook/sam2.1-hiera-base-plus", f"{_VIDEO}; better with a GPU", 80.8, SAM2),
    _hub("sam2.1_large", "facebook/sam2.1-hiera-large", f"{_VIDEO}; the largest SAM 2.1, for a GPU", 224.4, SAM2),
    _hub("edgetam", "yonigozlan/EdgeTAM-hf", f"{_VIDEO}; small, for processors without a GPU", 13.9, EDGETAM),
    _hub("sam_hq_vit_b", "syscv-community/sam-hq-vit-base", "natural images; fine outlines", 94.8, SAM_HQ),
    replace(
        _hub("sam3", "facebook/sam3", f"{_VIDEO}; texts and examples; for a GPU", 848.0, SAM3),
        licence="SAM License, Meta's own terms; gated: accepted at the hub before the download",
        gated=True,
    ),
)


def weights_folder() -> Path:
    """The folder that downloaded weights are kept in; not created here."""
    return Path(pooch.os_cache("napari-segany"))


def own_models_folder() -> Path:
    """The folder of the models that the user trained; not created here."""
    given = os.environ.get(OWN_MODELS)
    return Path(given) if given else Path(platformdirs.user_data_path("napari-segany", appauthor=False)) / "models"


def own_heads_folder() -> Path:
    """The folder of the text heads that the user added; not created here."""
    return own_models_folder() / "text-heads"


def _recorded_own_model(name: str, known: Mapping[str, ModelSpec]) -> ModelSpec | None:
    """A model of the user's, or a folder, by the name that sessions record, which ends in a hash of its file."""
    stem, _, digest = name.rpartition("-")
    spec = known.get(stem)
    if spec is not None and spec.package:
        return spec
    if spec is not None and spec.folder:
        from napari_segany.models.adapters.hub_folder import read_folder

        return spec if spec.installed and digest == read_folder(spec.path).digest else None
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
    """The models that the user trained, by name, and the folders of `transformers` next to them.

    Those called like a published one are left out.
    """
    folder, known = own_models_folder(), {spec.name for spec in _MODELS}
    names = sorted(path.stem for path in folder.glob("*.safetensors")) if folder.is_dir() else []
    folders = sorted(path.parent.name for path in folder.glob("*/config.json")) if folder.is_dir() else []
    trained = [own_model(name) for name in names if name not in known]
    return (*trained, *(own_folder(name) for name in folders if name not in known and name not in names))


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


def own_folder(name: str) -> ModelSpec:
    """The entry of a folder of `transformers` that the user put into the folder of own models."""
    return ModelSpec(name, "", "see its card", "", "", None, "see its card", "see its card", own=True, folder=True)


def weights_at(path: str | Path) -> ModelSpec:
    """The entry of weights that are anywhere on this computer, known by their path.

    Parameters
    ----------
    path : str or Path
        A file of weights, a folder with ``config.json``, or that file.

    Raises
    ------
    ModelError
        There are none.
    """
    place = Path(path).expanduser().absolute()
    if place.name == _CONFIG:
        place = place.parent
    folder = (place / _CONFIG).is_file()
    if not folder and place.suffix.lower() not in WEIGHT_ENDINGS:
        raise ModelError(
            f"{place} is neither a file of weights ({', '.join(WEIGHT_ENDINGS)}) nor a folder with {_CONFIG}"
        )
    spec = ModelSpec(
        str(place), "", "see its card", "", "", None, "see its card", "see its card", folder=folder, place=str(place)
    )
    if not spec.installed:
        raise ModelError(f"{place} holds no weights (*.safetensors)" if folder else f"there is no checkpoint {place}")
    return spec


def list_models() -> tuple[ModelSpec, ...]:
    """Every known model: the shipped one, those of the user and of other packages, and the published ones."""
    own = own_models()
    return (_MODELS[0], *own, *_of_packages({spec.name for spec in (*_MODELS, *own)}), *_MODELS[1:])


def _of_packages(known: set[str]) -> Iterator[ModelSpec]:
    """The segmenters that other packages name, but for those called like a model that is known already."""
    for name, entry in registered().items():
        if name not in known:
            package = package_of(entry)
            domain, cite = f"see {package}", f"as {package} says"
            yield ModelSpec(name, "", domain, "", "", None, licence_of(entry), cite, package=package)


def find(name: str) -> ModelSpec:
    """Return the model of a name.

    Parameters
    ----------
    name : str
        As in :func:`list_models`, or the absolute path of weights.

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
    if Path(name).is_absolute():
        return weights_at(name)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    raise ModelError(f"no model is called {name!r}; {hint}")
