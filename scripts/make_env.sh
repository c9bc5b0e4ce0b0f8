#!/usr/bin/env bash
# Build the environment: make_env.sh PYTHON FOLDER
set -euo pipefail

python=$1
venv=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "ragcore needs Python 3.11 or later; say which with: make env PYTHON=python3.11" >&2
    exit 1
}
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "making $venv"
    "$python" -m venv --clear "$venv" || {
        echo "$python cannot make environments; on Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi

# The pins were made on 64-bit Linux with Python 3.11; elsewhere pip chooses by pyproject.toml.
pins=()
here=$("$venv/bin/python" -c \
    'import platform, sys; print(sys.platform, platform.machine(), *sys.version_info[:2])')
if [[ $here == "linux x86_64 3 11" ]]; then
    pins=(--constraint constraints.txt)
else
    echo "on $here versions are not pinned"
fi

# Installing needs nothing of what a person has set for running.
pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input)
echo "installing packages (some minutes the first time, 7 GB)"
"${pip[@]}" install --quiet --upgrade "pip>=25"
"${pip[@]}" install --quiet "${pins[@]}" --editable ".[all,dev]"
echo "ready: $venv/bin/ragcore"
