#!/usr/bin/env bash
# The browser tests want Chromium. Install it where that is possible without asking; else say so.
set -uo pipefail

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "installing Chromium for the browser tests"
    if (apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends chromium) >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "no Chromium here: the browser tests are left out (Debian: apt-get install chromium)"
