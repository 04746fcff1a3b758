#!/bin/sh
# Print a Python 3.11 or newer that can make virtual environments with pip in them; fail when there is none.
for python in python3.11 python3 python3.12 python3.13 python3.14; do
    if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        command -v "$python"
        exit 0
    fi
done
echo "No Python 3.11 or newer with venv and pip was found." >&2
exit 1
