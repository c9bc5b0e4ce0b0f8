#!/usr/bin/env bash
# The tests of Milvus want its real server (56 MB, 250 MB unpacked): ensure_milvus.sh VENV
# It comes as a package for 64-bit Linux. Beside the environment, not in it: nothing of ours
# imports it.
set -uo pipefail

venv=$1
folder=$venv/milvus-server

[[ -f $folder/milvus/__init__.py ]] && exit 0
echo "fetching the Milvus server for its tests"
if ! "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --no-deps \
    --target "$folder" "milvus==2.3.5"; then
    rm -rf "$folder"
    echo "no Milvus server here: its tests are left out (Milvus Lite is tested)"
fi
