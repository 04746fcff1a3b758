"""Print or change the settings of inference in the metadata of a file of weights; the weights stay as they are.

    python scripts/inference_config.py src/napari_segany/models/data/tiny.safetensors
    python scripts/inference_config.py FILE --set zoom.window=192 --chosen-on "train/dsb2018: clicks .84 against .83"

A file without settings gets those of the shipped model first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec
from safetensors.torch import load_file, save_file

from napari_segany.models.inference_config import (
    KEY,
    InferenceConfig,
    read_inference_config,
    read_metadata,
    tiny_inference_config,
)


def changed(config: InferenceConfig, settings: list[str], chosen_on: str) -> InferenceConfig:
    """The configuration with other values, each given as ``FIELD=JSON``.

    Raises
    ------
    SystemExit
        There is no such field, or the value is of another type.
    """
    plain: dict[str, Any] = msgspec.to_builtins(config)
    for setting in settings:
        name, _, value = setting.partition("=")
        place: Any = plain
        *groups, last = name.split(".")
        for group in groups:
            place = place.get(group) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise SystemExit(f"there is no setting {name!r}")
        place[last] = json.loads(value)
        plain["chosen_on"][name] = chosen_on
    try:
        return msgspec.convert(plain, InferenceConfig)
    except msgspec.ValidationError as error:
        raise SystemExit(str(error)) from None


def main() -> None:
    """Parse, change, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument(
        "--chosen-on", default="", help="the images on which the values were chosen, and what others cost"
    )
    given = parser.parse_args()
    config = read_inference_config(given.file)
    if config is None or given.set:
        if given.set and not given.chosen_on:
            raise SystemExit("--chosen-on says on which images the values were chosen; it is kept with them")
        config = changed(config or tiny_inference_config(), given.set, given.chosen_on)
        metadata = {**read_metadata(given.file), **config.to_metadata()}
        save_file(load_file(given.file), given.file, metadata)
    print(msgspec.json.format(read_metadata(given.file)[KEY], indent=2))


if __name__ == "__main__":
    main()
