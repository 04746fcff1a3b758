#!/bin/sh
# Install napari-segany, napari and Qt into .venv, with all they need from the system.
set -eu
cd "$(dirname "$0")/.."
scripts/venv.sh
.venv/bin/python -m pip install --quiet --editable ".[all]"
echo "Installed. Start it with .venv/bin/napari, then Plugins > Segment Anything."
