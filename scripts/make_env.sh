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
    echo "creating $venv"
    "$python" -m venv --clear "$venv" || {
        echo "$python cannot create environments; on Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi

# Installing needs nothing of what a person has set for running.
pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input)
# The lock is for 64-bit Linux and Python 3.11; elsewhere pip chooses by pyproject.toml.
here=$("$venv/bin/python" -c \
    'import platform, sys; print(sys.platform, platform.machine(), *sys.version_info[:2])')
# What an earlier build left here would hide the entry points of this one.
rm -rf ./*.egg-info starter-weights/*.egg-info
echo "installing packages (some minutes the first time, 7 GB)"
if [[ $here == "linux x86_64 3 11" ]]; then
    # Modules are compiled when they are first imported: most never are.
    "${pip[@]}" install --quiet --no-compile --require-hashes --requirement requirements.lock
    "${pip[@]}" install --quiet --no-deps --no-build-isolation --editable . --editable starter-weights
else
    echo "on $here versions are not pinned"
    "${pip[@]}" install --quiet --upgrade "pip>=25"
    "${pip[@]}" install --quiet --editable ".[all,dev]" --editable starter-weights
fi
echo "ready: $venv/bin/ragcore"
