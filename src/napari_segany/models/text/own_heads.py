"""Text heads that the user trained: which there are, and which model each belongs to."""

from __future__ import annotations

import difflib
import re
import shutil
from pathlib import Path

from napari_segany.core.errors import InputError, ModelError
from napari_segany.models.registry import own_heads_folder
from napari_segany.models.text.text_prompter import head_info


def own_heads(model: str = "") -> dict[str, Path]:
    """Files of the heads by name, sorted.

    Parameters
    ----------
    model : str
        Only those that were trained for this model; all without it. Files that hold no head are left out.
    """
    folder = own_heads_folder()
    paths = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return {path.stem: path for path in paths if not model or _model_of(path) == model}


def find_head(head: str | Path) -> Path:
    """The file of a head.

    Parameters
    ----------
    head : str or Path
        Path of a file, or name of one of :func:`own_heads`.

    Raises
    ------
    ModelError
        There is no such file, and no head of this name.
    """
    path = Path(head).expanduser()
    if isinstance(head, Path) or path.suffix or len(path.parts) > 1 or path.is_file():
        return path
    known = own_heads()
    if head not in known:
        near = difflib.get_close_matches(head, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`models import FILE --name NAME` adds one"
        raise ModelError(f"no text head is called {head!r}; {hint}")
    return known[head]


def add_head(source: Path, name: str) -> Path:
    """Copy a head of ``train text`` to the heads of the user.

    Raises
    ------
    InputError
        It is no name for a file, or a head has it already.
    ModelError
        The file is no text head.
    """
    head_info(source)
    if not re.fullmatch(r"[\w][\w .+-]*", name):
        raise InputError(f"{name!r} is no name for a text head; use letters, digits, - and _")
    target = own_heads_folder() / f"{name}.safetensors"
    if target.exists():
        raise InputError(f"there is a text head {name!r} already; choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    shutil.copyfile(source, partial)
    partial.replace(target)
    return target


def _model_of(path: Path) -> str:
    try:
        return head_info(path)["model"]
    except ModelError:
        return ""
