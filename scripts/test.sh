#!/bin/sh
# Run the tests in two processes side by side: much of their time is waiting.
#
#   scripts/test.sh PYTHON [--no-cov]
#
# With coverage, the branches of both are put together and must be all there are.
set -u
python=$1
cover=${2:-}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
waiting='tests/integration_tests/test_faults.py tests/integration_tests/test_image_tool.py
tests/integration_tests/test_image_downloads.py tests/integration_tests/test_docs.py'

play() { # name arguments...
  name=$1
  shift
  if [ "$cover" = --no-cov ]; then
    "$python" -m pytest -q --no-cov "$@" > "$logs/$name" 2>&1
  else
    COVERAGE_FILE="$logs/coverage.$name" \
      "$python" -m pytest -q --cov --cov-report= --cov-fail-under=0 "$@" > "$logs/$name" 2>&1
  fi
}

there=''
skipped=''
for file in $waiting; do
  if [ -e "$file" ]; then there="$there $file"; skipped="$skipped --ignore=$file"; fi
done

# shellcheck disable=SC2086 # lists of words
play waiting $there &
side=$!
# shellcheck disable=SC2086
play other $skipped
status=$?
wait "$side" || status=$?

cat "$logs/waiting" "$logs/other"
[ "$status" = 0 ] || exit "$status"
[ "$cover" != --no-cov ] || exit 0
"$python" -m coverage combine -q --data-file="$logs/all" "$logs"/coverage.*
exec "$python" -m coverage report --data-file="$logs/all"
