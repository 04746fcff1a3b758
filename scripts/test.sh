#!/bin/sh
# Install what the tests need and run all that must pass; a stage's name, as in scripts/gate.py, runs that one alone.
set -eu
cd "$(dirname "$0")/.."
scripts/venv.sh
.venv/bin/python -m pip install --quiet "tox>=4.22"
exec .venv/bin/tox run -e gate -- "$@"
