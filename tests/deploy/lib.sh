# What the tests of the deployment share; sourced by them, which dev/test-deploy runs with DOCKER_HOST, and TARMAC_TEST_BINARY, the
# program, TARMAC_TEST_DIRECTORY, to write to, TARMAC_TEST_BEGAN, the second it began. They set `site`, and `key` once there is one.
# shellcheck shell=bash disable=SC2154

set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

here=${0##*/}
directory=$TARMAC_TEST_DIRECTORY/$here
mkdir -p "$directory"

say() { printf 'test-deploy: %4d s: %s: %s\n' $((EPOCHSECONDS - TARMAC_TEST_BEGAN)) "$here" "$*" >&2; }

fail() {
  say "FAILED: $*"
  exit 1
}

# holds WHAT COMMAND...: fails, saying what does not hold, when the command does.
holds() {
  local what=$1
  shift
  "$@" || fail "does not hold: $what ($*)"
  say "holds: $what"
}

# until_true SECONDS WHAT COMMAND...: waits for the command to succeed.
until_true() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < deadline)) || fail "not in time: $what ($*)"
    sleep 0.2
  done
}

# The API, with the key: api PATH CURL-OPTION...
api() {
  local path=$1
  shift
  curl -fsS --max-time 100 -H "Authorization: Bearer $key" "$@" "$site$path"
}

import() { api "/imports/$1"; }
state_of() { import "$1" | jq -r .state; }
is_complete() { [[ $(state_of "$1") == complete ]]; }
is_ready() { curl -fs -o /dev/null --max-time 10 "$site/health/ready"; }

# How many imports there are of a file name.
imports_named() { api "/imports?limit=1000" | jq --arg name "$1" '[.data[] | select(.filename == $name)] | length'; }

# citizens ROWS SEED: a file of made-up citizens; prints its name.
citizens() {
  local file=$directory/citizens-$1-$2.csv
  [[ -f $file ]] || "$TARMAC_TEST_BINARY" fixtures citizens --rows "$1" --seed "$2" >"$file"
  echo "$file"
}

upload() { TARMAC_UPLOAD_KEY=$key "$TARMAC_TEST_BINARY" upload --server "$site" "$@"; }

# The import's id in the URL or the line that `upload` printed.
id_in() { grep -oE 'imports?[ /][0-9]+' | grep -oE '[0-9]+' | head -n 1; }

# In the background, uploads one small file after the other, without ever repeating one, until end_loop. Each has an airport of its own,
# so that they can be counted. The client waits for each import's end (200), though not for long (202): one that does not wait sends
# faster than a worker that is being replaced can load, until the service rightly refuses to hold more. A request that waits for less
# than server.shutdown_seconds is answered before its instance stops.
begin_loop() {
  rm -f "$directory"/loop.*
  (
    number=0
    while [[ ! -e $directory/loop.end ]]; do
      number=$((number + 1))
      printf 'name,city,country,latitude,longitude,source\nAirport %s,City,Country,1,1,loop\n' "$number" >"$directory/loop.csv"
      status=$(curl -s -o "$directory/loop.answer" -w '%{http_code}' --max-time 60 -H "Authorization: Bearer $key" \
        -H 'Prefer: wait=3' -F "file=@$directory/loop.csv;filename=loop-$number.csv" "$site/upload") || true
      case $status in
        200 | 202) echo "$number" >>"$directory/loop.good" ;;
        *) echo "$number $status $(head -c 300 "$directory/loop.answer")" >>"$directory/loop.bad" ;;
      esac
    done
  ) &
  loop=$!
  until_true 30 "the first upload of the loop" test -s "$directory/loop.good"
}

# Ends the loop; every upload was answered 2xx, and becomes an airport.
end_loop() {
  touch "$directory/loop.end"
  wait "$loop"
  loop_count=$(wc -l <"$directory/loop.good")
  [[ ! -e $directory/loop.bad ]] || fail "of $loop_count uploads some were lost: $(head -n 3 "$directory/loop.bad")"
  until_true 120 "every upload of the loop is an airport" all_arrived
  say "holds: $loop_count uploads, none lost"
}
all_arrived() { (($(api '/airports?source=loop&limit=10000' | jq '.data | length') == loop_count)); }
