"""Run what must pass before a change lands, one stage after the other, and say how long each took.

``python scripts/gate.py`` runs all; ``python scripts/gate.py tests docs`` the stages named.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
DIST = ROOT / "build" / "dist"
WINDOWS = (
    ("tests/widgets/controllers",),
    ("tests/widgets", "tests/layers", "tests/test_demo.py", "tests/test_sample_data.py"),
)
"""Tests that open real windows, and those that need napari but no model, in two parts; the second without the first."""
OLDEST = ("tests/widgets/test_doors.py", "tests/widgets/test_resume.py")
SCREEN = ("xvfb-run", "-a", "-s", "-screen 0 1600x1000x24")


class StageError(Exception):
    """A stage did not pass; its message says what to do, or the command has already said it."""


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a command; :class:`StageError` when it fails."""
    line = [str(word) for word in command]
    print("$", *line, flush=True)
    if code := subprocess.run(line, cwd=cwd, env=env or os.environ.copy(), check=False).returncode:
        raise StageError(f"{line[0]} exited with {code}")


def lint() -> None:
    """Check style and format."""
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")


def types() -> None:
    """Check types, strictly in core."""
    run("mypy", "--python-executable", sys.executable)


def floors() -> None:
    """Check that imports go down only."""
    run("lint-imports")


def manifest() -> None:
    """Check napari's manifest, and that all that it names can be imported."""
    run("npe2", "validate", "--imports", "napari-segany")


def tests() -> None:
    """Run all tests in two lanes: windows on virtual screens, one part while the others run."""
    if not shutil.which("xvfb-run"):
        raise StageError("xvfb-run is missing: run scripts/system-packages.sh (Debian and Ubuntu: xvfb, xauth)")
    first, second = WINDOWS
    # more than two at once would make each other wait, and tests of what is shown in time fail
    lanes = (
        {"the others": _tests(("tests",), (*first, *second)), "windows, 1": _tests(first)},
        {"windows, 2": _tests(second, first)},
    )
    with TemporaryDirectory(prefix="segany-tests-") as folder, ThreadPoolExecutor(len(lanes)) as pool:
        found = [one.result() for one in [pool.submit(_lane, lane, Path(folder)) for lane in lanes]]
        for name in (name for lane in lanes for name in lane):
            print(f"--- {name}\n{(Path(folder) / name).read_text(errors='replace')}", flush=True)
    if failed := [f"{name} exited with {code}" for codes in found for name, code in codes.items() if code]:
        raise StageError(", ".join(failed))


def _tests(paths: Sequence[str], ignored: Sequence[str] = ()) -> tuple[str, ...]:
    """The command that runs tests; all but those that open no window get a screen."""
    pytest = (sys.executable, "-m", "pytest", *map(str, (ROOT / path for path in paths)))
    screen = () if "tests" in paths else SCREEN
    return (*screen, *pytest, *(f"--ignore={ROOT / path}" for path in ignored))


def _lane(commands: Mapping[str, Sequence[str]], folder: Path) -> dict[str, int]:
    """Run commands one after the other, each with a log of its own; their exit codes."""
    plain = {name: value for name, value in os.environ.items() if name != "WAYLAND_DISPLAY"}
    codes = {}
    for name, command in commands.items():
        print("$", *command, flush=True)
        platform = "xcb" if command[0] == SCREEN[0] else "offscreen"
        with (folder / name).open("wb") as log:
            codes[name] = subprocess.run(
                command, cwd=ROOT, env={**plain, "QT_QPA_PLATFORM": platform}, stdout=log, stderr=subprocess.STDOUT,
                check=False,
            ).returncode  # fmt: skip
    return codes


def oldest() -> None:
    """Open the widget through every door, and continue a session, in the oldest napari that is declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (declared,) = (one for one in project["dependencies"] if one.startswith("napari>="))
    with TemporaryDirectory(prefix="segany-oldest-") as name:
        python = _environment(Path(name) / "env")
        # what else the old one needs is that of the new one, but for appdirs
        wanted = (f"napari=={declared.removeprefix('napari>=')}.0", "appdirs")
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed", *wanted, cwd=Path(name))
        env = {**os.environ, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT / "src")}
        run(*SCREEN, python, "-m", "pytest", "--quiet", *OLDEST, env=env)


def package() -> None:
    """Build sdist and wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST)


def demo() -> None:
    """Install the wheel into an environment of its own and run the demo from there."""
    wheels = list(DIST.glob("*.whl"))
    if not wheels:
        package()
        wheels = list(DIST.glob("*.whl"))
    with TemporaryDirectory(prefix="segany-demo-") as name:
        folder = Path(name)
        python = _environment(folder / "env")
        # the editable install of the checkout, seen from here too, must not count as this wheel
        options = ("--quiet", "--no-deps", "--no-index", "--ignore-installed")
        run(python, "-m", "pip", "install", *options, wheels[0], cwd=folder)
        run(python, "-c", _IS_THE_WHEELS, folder / "env", cwd=folder)
        run(python.parent / "napari-segany", "demo", "--headless", "--out", folder / "out", cwd=folder)
        written = sorted(path.name for path in (folder / "out").iterdir())
        print("written:", *written, flush=True)
        if not {".tif", ".png"} <= {Path(file).suffix for file in written}:
            raise StageError("the demo wrote no labels (.tif) or no picture (.png)")


def docs() -> None:
    """Build the documentation; warnings are errors."""
    run(sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", ROOT / "build" / "site")


_IS_THE_WHEELS = """
import sys, napari_segany
from npe2 import PluginManager
from pathlib import Path
assert Path(napari_segany.__file__).is_relative_to(sys.argv[1]), napari_segany.__file__
manager = PluginManager()
manager.discover()
manifest = manager.get_manifest("napari-segany")
assert manifest.contributions.widgets and manifest.contributions.sample_data, manifest
"""


def _environment(folder: Path) -> Path:
    """Make an environment that sees the packages of this one, which are too heavy to install twice; its python.

    ``--system-site-packages`` would show those of the Python that this environment was itself made from. Folders named
    in a .pth file come after the new environment's own, and their own .pth files (the editable install) do not count.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    query = [python, "-c", "import site; print(site.getsitepackages()[0])"]
    own = Path(subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip())
    (own / "heavy.pth").write_text("\n".join(site.getsitepackages()))
    return python


STAGES: tuple[Callable[[], None], ...] = (lint, types, floors, manifest, tests, oldest, package, demo, docs)


def main(names: list[str]) -> int:
    """Run the stages named, or all; 1 at the first that fails."""
    if unknown := set(names) - {stage.__name__ for stage in STAGES}:
        print("no such stage:", *unknown, "- there are", *(stage.__name__ for stage in STAGES))
        return 2
    times = []
    for stage in STAGES:
        if names and stage.__name__ not in names:
            continue
        print(f"\n=== {stage.__name__}: {stage.__doc__}", flush=True)
        start = time.monotonic()
        try:
            stage()
        except StageError as error:
            print(f"=== {stage.__name__} FAILED after {time.monotonic() - start:.0f} s: {error}", flush=True)
            return 1
        times.append(f"{stage.__name__} {time.monotonic() - start:.0f} s")
        print(f"=== {times[-1]}", flush=True)
    print("\nAll stages passed:", ", ".join(times), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
