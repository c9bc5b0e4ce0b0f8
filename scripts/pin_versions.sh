#!/usr/bin/env bash
# Print exact versions of everything that is installed: pin_versions.sh PYTHON
set -euo pipefail

echo "# Exact versions for 64-bit Linux and Python 3.11. Written by \`make constraints\`."
"$1" -m pip --disable-pip-version-check freeze --exclude-editable --exclude ragcore |
    grep -E '^[A-Za-z0-9._-]+==' | LC_ALL=C sort --ignore-case
