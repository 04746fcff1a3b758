"""Make the weights that ship from the labelled images, one run after the other.

    python scripts/make_weights.py --data "$SEGANY_DATA/train" --out weights
    python scripts/make_weights.py --data "$SEGANY_DATA/train" --out weights --first tiny-text-third

Each run has a folder of its own below the output folder. A run that was stopped is resumed, one that has ended is
skipped. With ``--first`` the runs before it are not made, and models that are missing in the output folder are those of
the package. The last step copies the weights into the package. Without a GPU all runs take about two days.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file, save_file

from napari_segany.models.inference_config import SESSION_HASH, read_metadata

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "src/napari_segany/training/configs"
PACKAGE = ROOT / "src/napari_segany/models/data"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Run:
    """One training.

    Parameters
    ----------
    command : str
        Of ``napari-segany train``.
    config : str
        A configuration of the package, and the name of the folder of the run.
    settings : dict of str to str
        Settings that name models, and the files of the output folder that they are when the files exist.
    result : str
        What the run writes in its folder.
    """

    command: str
    config: str
    settings: dict[str, str] = field(default_factory=dict)
    result: str = WEIGHTS


SIXTH, EIGHTH = f"tiny-sixth/{WEIGHTS}", f"tiny-eighth/{WEIGHTS}"
TOWERS = "tiny-text-towers-second/clip"
RUNS = (
    *(Run("sam", f"tiny-{number}") for number in ("first", "second", "third", "fourth", "fifth", "sixth")),
    Run("sam", "tiny-seventh"),
    Run("sam", "tiny-eighth"),
    Run("text", "tiny-text-towers", result="clip"),
    Run("text", "tiny-text", {"model": SIXTH, "clip": "tiny-text-towers/clip"}),
    Run("text", "tiny-text-towers-second", {"start": "tiny-text-towers/clip"}, result="clip"),
    Run("text", "tiny-text-second", {"model": SIXTH, "clip": TOWERS, "start": f"tiny-text/{WEIGHTS}"}),
    Run("text", "tiny-text-third", {"model": EIGHTH, "clip": TOWERS, "start": f"tiny-text-second/{WEIGHTS}"}),
    Run("classes", "tiny-classes", {"start": EIGHTH}),
    Run("identity", "tiny-identity", {"start": EIGHTH}),
)
SHIPPED = {
    EIGHTH: "tiny.safetensors",
    TOWERS: "tiny-text",
    f"tiny-text-third/{WEIGHTS}": "tiny-text.safetensors",
    f"tiny-classes/{WEIGHTS}": "tiny-classes.safetensors",
    f"tiny-identity/{WEIGHTS}": "tiny-identity.safetensors",
}
"""Files and folders of the output folder, and what they are in the package."""
SETTLED = (EIGHTH, f"tiny-text-third/{WEIGHTS}")
"""Weights with settings that are chosen later, with ``scripts/confidence.py`` and ``scripts/inference_config.py``."""


def config_of(run: Run, out: Path) -> Path:
    """The configuration of a run, with files of the output folder in place of models of the package."""
    text = (CONFIGS / f"{run.config}.toml").read_text(encoding="utf-8")
    for name, file in run.settings.items():
        if (out / file).exists():
            text = re.sub(rf'^{name} = ".*"$', f'{name} = "{file}"', text, flags=re.MULTILINE)
        else:
            print(f"{run.config}: {name} is that of the package, as {out / file} is missing")
    path = out / f"{run.config}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def train(run: Run, data: Path, out: Path, device: str) -> None:
    """Start or resume a run; the script ends when it fails."""
    command = [sys.executable, "-m", "napari_segany", "train", run.command, str(config_of(run, out).name)]
    command += ["--data", str(data), "--out", run.config, "--device", device]
    print("$", *command, flush=True)
    if code := subprocess.run(command, cwd=out, check=False).returncode:
        raise SystemExit(code)


def copy_to_package(out: Path) -> None:
    """Copy weights into the package.

    What is chosen for `tiny` and its texts stays as in the package's files; names and identity queries say themselves
    which encoder they belong to.
    """
    for file, name in SHIPPED.items():
        if not (out / file).exists():
            continue
        target = PACKAGE / name
        if target.is_dir():
            shutil.copytree(out / file, target, dirs_exist_ok=True)
        else:
            metadata = read_metadata(target if file in SETTLED else out / file)
            metadata.pop(SESSION_HASH, None)  # sessions know other weights by another hash
            save_file(load_file(out / file), target, metadata)
        print("wrote", target)


def main() -> None:
    """Train what is missing, and copy it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training sources")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", choices=[run.config for run in RUNS], default=RUNS[0].config)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for run in RUNS[[run.config for run in RUNS].index(given.first) :]:
        if not (given.out / run.config / run.result).exists():
            train(run, given.data.resolve(), given.out, given.device)
    copy_to_package(given.out)


if __name__ == "__main__":
    main()
