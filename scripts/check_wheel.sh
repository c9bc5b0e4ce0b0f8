#!/usr/bin/env bash
# Build the wheels, install ragcore with its core dependencies into an environment outside the
# tree, and use it there as a person would: check_wheel.sh PYTHON
# PYTHON is that of the development environment, which has the build backend.
set -euo pipefail

python=$1
source=$(pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for project in "$source" "$source/starter-weights"; do
    "$python" -m build --wheel --no-isolation --outdir "$scratch/dist" "$project" >/dev/null
done

"$python" -m venv "$scratch/venv"
pip=("$scratch/venv/bin/python" -m pip --disable-pip-version-check --no-input)
here=$("$python" -c 'import platform, sys; print(sys.platform, platform.machine(), *sys.version_info[:2])')
pinned=()
if [[ $here == "linux x86_64 3 11" ]]; then
    "$python" scripts/lock_subset.py >"$scratch/core.lock"
    "${pip[@]}" install --quiet --no-compile --require-hashes --requirement "$scratch/core.lock"
    pinned=(--no-deps)
fi
# The weights are not installed: ragcore finds their wheel beside its own.
"${pip[@]}" install --quiet "${pinned[@]}" "$scratch"/dist/ragcore-*.whl
"${pip[@]}" check

mkdir "$scratch/elsewhere"
cd "$scratch/elsewhere"
export RAGCORE_HOME=$scratch/home RAGCORE_WEIGHTS_CACHE=${RAGCORE_WEIGHTS_CACHE:-$scratch/weights}
ragcore=$scratch/venv/bin/ragcore
"$ragcore" --version
"$ragcore" demo --no-page
"$ragcore" search "notice period after probation" --collection sample
"$ragcore" ask "How many days of paid leave are there?" --collection sample
