# What the scripts in this folder share; sourced, never run. It leaves them in the repository's root.
# shellcheck shell=bash

set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# The server may run as another user, who has to be able to walk through the folders made here.
umask 022

# rustup adds this to login shells only.
PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

# Where databases and archives live, relative to the repository's root unless absolute, and the first of the ports used.
# Not left in the environment, for the service refuses TARMAC_ variables it does not know.
dev_dir=${TARMAC_DEV_DIR:-.dev}
dev_port=${TARMAC_DEV_PORT:-54329}
unset TARMAC_DEV_DIR TARMAC_DEV_PORT

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# need COMMAND INSTALL: fails with the command line that installs what is missing.
need() { command -v "$1" >/dev/null || fail "$1 is missing; install it: $2"; }

need_cargo() { need cargo "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"; }

# Beside Rust: librdkafka is built from its source.
need_compilers() {
  need_cargo
  { command -v g++ && command -v make; } >/dev/null || apt_install g++ make
}

# build_as_for_tests PROFILE: the service, with the features that dependencies of the tests ask of what both depend on. Cargo would
# build half of all dependencies a second time for a service without them.
build_as_for_tests() { cargo build --quiet --locked --profile "$1" --bin tarmac --bench instructions; }

# apt_install PACKAGE...: as root or through a sudo that asks no password. Silent, but for one line when it fails.
apt_install() {
  local by_hand="apt-get update && apt-get install -y --no-install-recommends $*" log
  local -a as_root=()
  command -v apt-get >/dev/null || fail "cannot install without apt-get: $*"
  if ((EUID != 0)); then
    sudo -n true 2>/dev/null || fail "missing: $*; as root, this installs it: $by_hand"
    as_root=(sudo -n)
  fi
  say "installing $*"
  log=$(mktemp)
  # An update may fail for a source that is not needed; whether the install works is what counts. --no-upgrade leaves
  # alone what is there already, since an upgrade would restart a database of the machine's own.
  "${as_root[@]}" apt-get update >"$log" 2>&1 || true
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --no-upgrade \
    -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null; then
    say "apt-get: $(grep '^E:' "$log" | tail -n 1); by hand, as root: $by_hand"
    rm -f "$log"
    exit 1
  fi
  rm -f "$log"
}

# wait_for SECONDS COMMAND...: whether the command succeeds before the deadline.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# port_taken HOST PORT: whether somebody listens there.
port_taken() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

private_postgres() { TARMAC_DEV_DIR=$dev_dir TARMAC_DEV_PORT=$dev_port dev/postgres "$@"; }

private_kafka() { TARMAC_DEV_DIR=$dev_dir TARMAC_DEV_PORT=$dev_port dev/kafka "$@"; }

# What this run has started, and therefore stops.
child=
started_postgres=
started_kafka=

# Starts a command in a process group of its own. Ctrl-C then reaches this script alone, which passes it on once and as
# SIGTERM: a service told twice would take the second signal for impatience.
spawn() {
  set -m
  # What it leaves behind when it is killed must not hold our lock.
  "$@" </dev/null 9>&- &
  child=$!
  set +m
}

# Waits for the spawned command; returns its exit status.
join() {
  local status=0
  wait "$child" || status=$?
  child=
  return "$status"
}

start_postgres() {
  private_postgres status >/dev/null 2>&1 || started_postgres=1
  # A lock held by this script must not live on in the server.
  private_postgres start 9>&-
}

start_kafka() {
  private_kafka status >/dev/null 2>&1 || started_kafka=1
  private_kafka start 9>&-
}

# Stops what this run has started. Asked to by a signal, it exits as the child does: a service that drains did well.
stop_everything() {
  local status=$? child_status
  trap - EXIT
  trap '[[ -z $child ]] || kill -KILL -- "-$child"' INT TERM HUP # asked again: no more patience
  if [[ -n $child ]]; then
    kill -TERM -- "-$child" 2>/dev/null || true
    while :; do
      child_status=0
      wait "$child" || child_status=$?
      kill -0 "$child" 2>/dev/null || break # else a signal ended the wait, not the child
    done
    child=
    ((status < 128)) || status=$child_status
  fi
  if [[ -n $started_kafka ]]; then
    private_kafka stop || true
  fi
  if [[ -n $started_postgres ]]; then
    private_postgres stop || true
  fi
  exit "$status"
}

stop_everything_at_exit() {
  trap stop_everything EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# with_test_servers NAME OFFSET COMMAND...: runs the command with TARMAC_TEST_DATABASE_URL naming a superuser of a
# PostgreSQL, and TARMAC_TEST_KAFKA_BROKERS a Kafka, that are apart, in their folder and ports, from those of `make run`.
# Those given from outside are used as they are.
with_test_servers() {
  local name=$1 offset=$2
  shift 2
  stop_everything_at_exit
  dev_dir=$dev_dir/$name
  dev_port=$((dev_port + offset))
  mkdir -p "$dev_dir"
  # Two runs at once would share servers that the first to end stops.
  exec 9>"$dev_dir/lock"
  if ! flock -n 9; then
    say "waiting for another run in $dev_dir"
    flock 9
  fi
  if [[ -z ${TARMAC_TEST_DATABASE_URL:-} ]]; then
    start_postgres
    TARMAC_TEST_DATABASE_URL=$(private_postgres url)
    export TARMAC_TEST_DATABASE_URL
  fi
  if [[ -z ${TARMAC_TEST_KAFKA_BROKERS:-} ]]; then
    # Nothing of an earlier run is of use.
    private_kafka status >/dev/null 2>&1 || private_kafka drop
    start_kafka
    TARMAC_TEST_KAFKA_BROKERS=$(private_kafka url)
    TARMAC_TEST_KAFKA_SASL_BROKERS=$(private_kafka sasl-url)
    export TARMAC_TEST_KAFKA_BROKERS TARMAC_TEST_KAFKA_SASL_BROKERS
  fi
  spawn "$@"
  join
}
