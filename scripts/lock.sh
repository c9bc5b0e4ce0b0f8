#!/usr/bin/env bash
# Renew requirements.lock: lock.sh UV [PACKAGE…]
#
# Pins that stand in the lock stay where pyproject.toml allows them; a PACKAGE is upgraded, and
# `all` upgrades every one.
set -euo pipefail

uv=$1
shift
[[ -x $uv ]] || {
    echo "constraints: $uv is missing: run \`make env\` first" >&2
    exit 1
}
upgrades=()
for name in "$@"; do
    [[ $name == all ]] && upgrades+=(--upgrade) || upgrades+=(--upgrade-package "$name")
done
# Packages whose GPU builds exclude the CPU ones (extra `gpu`) are not pinned.
exec "$uv" pip compile pyproject.toml --extra all --extra dev --quiet \
    --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make constraints" \
    "${upgrades[@]}" --output-file requirements.lock
