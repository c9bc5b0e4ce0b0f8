#!/usr/bin/env bash
# After a test run that failed: run up to three failed tests again, alone, and name them.
# test_again.sh PYTHON. What passes alone failed for its timing: that is a fault to be repaired, but
# no reason to reject what it does not test. More than three, or one that fails again, is a failure.
set -euo pipefail

python=$1
failed=.pytest_cache/v/cache/lastfailed
# Exit code 1 of pytest: all tests ran to their end, and some failed.
[[ -s $failed && $(cat .pytest_cache/exit 2>/dev/null) == 1 ]] || exit 1
count=$("$python" -c 'import json, sys; print(len(json.load(open(sys.argv[1]))))' "$failed")
if ((count < 1 || count > 3)); then
    echo "$count tests failed"
    exit 1
fi
cp "$failed" "$failed.first"
"$python" -m pytest -v --last-failed --last-failed-no-failures none
echo "UNSTABLE: $count of the tests failed beside the others and passed alone; repair them:"
"$python" -c 'import json, sys; print(*json.load(open(sys.argv[1])), sep="\n")' "$failed.first"
