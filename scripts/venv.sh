#!/bin/sh
# Make .venv, a private Python environment in the checkout, unless it is there: the system's own Python stays as it is.
set -eu
cd "$(dirname "$0")/.."
scripts/system-packages.sh
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(scripts/find-python.sh)
    "$python" -m venv --clear .venv
    # the pip of an older system resolves and installs more slowly
    .venv/bin/python -m pip install --quiet --upgrade pip
fi
