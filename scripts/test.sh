#!/bin/sh
# Run the tests in four processes side by side: much of their time is waiting.
#
#   scripts/test.sh PYTHON [--no-cov]
#
# With coverage, the branches of all are put together and must be all there are.
set -u
python=$1
cover=${2:-}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
folder=tests/integration_tests
faults="$folder/test_faults.py"
aiohttp="$folder/test_faults_aiohttp.py"
pictures="$folder/test_image_tool.py $folder/test_docs.py $folder/test_examples.py \
  $folder/test_sandbox.py $folder/test_sandbox_command.py $folder/test_sandbox_upstream.py \
  tests/unit_tests/sandbox tests/unit_tests/test_fuzz.py"

play() { # name arguments...
  name=$1
  shift
  if [ "$cover" = --no-cov ]; then
    "$python" -m pytest -q --no-cov "$@" > "$logs/$name.txt" 2>&1
  else
    COVERAGE_FILE="$logs/coverage.$name" \
      "$python" -m pytest -q --cov --cov-report= --cov-fail-under=0 "$@" > "$logs/$name.txt" 2>&1
  fi
}

rest=''
for file in $faults $aiohttp $pictures; do
  rest="$rest --ignore=$file"
done

# shellcheck disable=SC2086 # lists of words
play faults $faults &
first=$!
# shellcheck disable=SC2086
play aiohttp $aiohttp &
second=$!
# shellcheck disable=SC2086
play pictures $pictures &
third=$!
# shellcheck disable=SC2086
play rest $rest
status=$?
wait "$first" || status=$?
wait "$second" || status=$?
wait "$third" || status=$?

cat "$logs/faults.txt" "$logs/aiohttp.txt" "$logs/pictures.txt" "$logs/rest.txt"
[ "$status" = 0 ] || exit "$status"
[ "$cover" != --no-cov ] || exit 0
"$python" -m coverage combine -q --data-file="$logs/coverage" "$logs"
"$python" -m coverage report --data-file="$logs/coverage"
