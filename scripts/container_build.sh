#!/usr/bin/env bash
# Build steps of the container image, called by the Dockerfile: container_build.sh STEP …
#
#   system                       packages of Debian that ragcore needs when it runs
#   packages VARIANT [EXTRA …]   /opt/ragcore: Python packages from requirements.lock, and ragcore
#                                from this source tree; VARIANT is cpu or cuda
#   user                         the account that runs ragcore, and its folder
#
# TORCH_INDEX (for cpu): address of an index with CPU builds of torch and torchvision.
set -euo pipefail

TARGET=/opt/ragcore
STATE=/var/lib/ragcore
USER_ID=10001
TORCH=(torch torchvision triton 'cuda-*' 'nvidia-*')

fail() {
    echo "container_build: $*" >&2
    exit 1
}

system() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet
    # libgomp1: OpenMP, which FAISS, torch and llama.cpp load.
    apt-get install --quiet --yes --no-install-recommends \
        ca-certificates libgomp1 python3 python3-venv
    rm -rf /var/lib/apt/lists/*
}

packages() {
    local variant=${1:-}
    [[ $variant == cpu || $variant == cuda ]] || fail "VARIANT is cpu or cuda, not '$variant'"
    shift
    local source here scratch wheel
    source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    here=$(python3 -c 'import platform, sys; print(platform.machine(), *sys.version_info[:2])')
    [[ $here == "x86_64 3 11" ]] || fail "requirements.lock is for x86_64 and Python 3.11, not $here"
    scratch=$(mktemp -d)

    local subset=(python3 "$source/scripts/lock_subset.py")
    python3 -m venv "$TARGET"
    local pip=("$TARGET/bin/python" -m pip --disable-pip-version-check --no-input)
    local install=("${pip[@]}" install --no-deps --no-cache-dir)
    if [[ $variant == cpu && -n ${TORCH_INDEX:-} ]]; then
        # CPU builds are other files than those whose hashes the lock has: same versions, no CUDA.
        "${subset[@]}" --only torch torchvision | grep -o '^[a-z]*==[0-9.]*' >"$scratch/torch"
        "${install[@]}" --index-url "$TORCH_INDEX" --requirement "$scratch/torch"
        "${subset[@]}" "$@" --without "${TORCH[@]}" >"$scratch/packages"
    else
        [[ $variant == cuda ]] || echo "TORCH_INDEX is empty: torch brings its CUDA libraries" >&2
        "${subset[@]}" "$@" >"$scratch/packages"
    fi
    "${install[@]}" --require-hashes --requirement "$scratch/packages"

    # The backend is the locked one; it stays out of the image.
    python3 -m venv "$scratch/build"
    "${subset[@]}" --only setuptools >"$scratch/backend"
    "$scratch/build/bin/python" -m pip --disable-pip-version-check --quiet install \
        --require-hashes --requirement "$scratch/backend"
    local project
    for project in "$source" "$source/starter-weights"; do
        "$scratch/build/bin/python" -m pip --disable-pip-version-check --quiet wheel \
            --no-deps --no-build-isolation --wheel-dir "$scratch/wheels" "$project"
    done
    for wheel in "$scratch"/wheels/*.whl; do
        "${install[@]}" "$wheel"
    done
    "${pip[@]}" check
    rm -rf "$scratch"
}

user() {
    groupadd --gid $USER_ID ragcore
    useradd --uid $USER_ID --gid $USER_ID --home-dir $STATE --no-create-home \
        --shell /usr/sbin/nologin ragcore
    install --directory --owner $USER_ID --group $USER_ID --mode 700 \
        $STATE $STATE/home $STATE/weights
}

case ${1:-} in
system | packages | user) "$@" ;;
*) fail "the step is system, packages or user, not '${1:-}'" ;;
esac
