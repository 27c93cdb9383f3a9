# Machines for the playbooks: containers with systemd as their first process. Sourced after lib.sh.
# shellcheck shell=bash disable=SC2154,SC2034 # directory and here are lib.sh's; secret and key are the tests'

network=tarmac-$here
hosts=()

clean_up() {
  local status=$? host
  trap - EXIT
  [[ -z ${loop:-} ]] || touch "$directory/loop.end"
  for host in "${hosts[@]}"; do
    ((status == 0)) || docker exec "$host" journalctl --no-pager --lines 15 --unit 'tarmac*' --unit kafka >&2 || true
  done
  docker rm --force --volumes "${hosts[@]}" "$here-s3" >/dev/null 2>&1 || true
  docker network rm "$network" >/dev/null 2>&1 || true
  exit "$status"
}
trap clean_up EXIT

has_started() { [[ $(docker exec "$1" systemctl is-system-running 2>/dev/null) == running ]]; }

# start_hosts SUBNET NUMBER...: 10.213.SUBNET.NUMBER is tarmac-<last digit>, with root's ssh open to this run.
start_hosts() {
  local number host
  subnet=$1
  shift
  ssh-keygen -q -t ed25519 -N '' -f "$directory/ssh"
  docker network create --subnet "10.213.$subnet.0/24" "$network" >/dev/null
  for number in "$@"; do
    host=tarmac-${number: -1}
    docker run --detach --name "$host" --hostname "$host" --network "$network" --ip "10.213.$subnet.$number" --cap-add SYS_ADMIN \
      --tmpfs /run --tmpfs /run/lock --volume /sys/fs/cgroup:/sys/fs/cgroup:ro --volume "$TARMAC_TEST_DIRECTORY/kafka.tgz:/opt/kafka.tgz:ro" tarmac-test/host >/dev/null
    hosts+=("$host")
  done
  for host in "${hosts[@]}"; do
    until_true 60 "$host has started" has_started "$host"
    docker exec --interactive "$host" install -D -m 600 /dev/stdin /root/.ssh/authorized_keys <"$directory/ssh.pub"
  done
}

# make_inventory NAME: ansible/inventories/NAME with its secrets in a vault, and what is different here.
make_inventory() {
  inventory=$directory/inventory
  rm -rf "$inventory"
  cp -r "ansible/inventories/$1" "$inventory"
  sed -i -E "s/ansible_host: 192\.0\.2\./ansible_host: 10.213.$subnet./; s/private_address: 10\.0\.0\./private_address: 10.213.$subnet./" "$inventory/hosts.yml"
  openssl rand -hex 24 >"$directory/vault-password"
  sed -E "s|^(vault_tarmac.*): \"\"|\1: $(openssl rand -hex 24)|" "$inventory/group_vars/all/vault.yml.example" >"$inventory/group_vars/all/vault.yml"
  sed -i -E 's|^(vault_tarmac_archive_access_key_id): .*|\1: tarmac|' "$inventory/group_vars/all/vault.yml"
  secret=$(sed -n 's/^vault_tarmac_archive_secret_access_key: //p' "$inventory/group_vars/all/vault.yml")
  ansible-vault encrypt --vault-password-file "$directory/vault-password" "$inventory/group_vars/all/vault.yml" 2>/dev/null
  cat >"$inventory/group_vars/all/test.yml" <<END
ansible_user: root
ansible_ssh_private_key_file: $directory/ssh
ansible_ssh_common_args: -o UserKnownHostsFile=$directory/known_hosts -o StrictHostKeyChecking=accept-new
ansible_control_path_dir: $directory/ssh-control
ansible_become_method: ansible.builtin.su
kafka_url: file:///opt/kafka.tgz
kafka_checksum: sha512:$(sha512sum "$TARMAC_TEST_DIRECTORY/kafka.tgz" | cut -d ' ' -f 1)
kafka_heap_mb: 256
postgres_memory_mb: 1024
tarmac_binary: $TARMAC_TEST_BINARY
tarmac_private_users: false
tarmac_public_url: $site
tarmac_more_settings: |
  [limits]
  requests_per_minute = "off"
END
}

# play NAME.yml OPTION...: runs the playbook; its output is in play.log.
play() {
  local book=$1
  shift
  (cd ansible && ANSIBLE_NOCOLOR=1 ansible-playbook --inventory "$inventory" --vault-password-file "$directory/vault-password" "$book" "$@") \
    >"$directory/play.log" 2>&1
}

must_play() {
  local began=$SECONDS
  play "$@" || {
    tail -n 40 "$directory/play.log" >&2
    fail "ansible-playbook $*"
  }
  say "ansible-playbook $* took $((SECONDS - began)) s"
}

changed_nothing() { ! grep -E '^tarmac-[0-9] .*changed=[1-9]' "$directory/play.log" >/dev/null && ! grep -E '^changed:' "$directory/play.log" >&2; }

# Tasks of the role tarmac changed something, and nothing else did.
changed_tarmac() {
  awk '/^(TASK|RUNNING HANDLER) \[/ { tarmac = /\[tarmac : / } /^changed: / { if (tarmac) some = 1; else { print "changed by another role: " $0; other = 1 } }
    END { exit other || !some }' "$directory/play.log" >&2
}

# What runs on a host, as the processes tell: the program of each instance and of the worker. Their user may look, root without all its
# capabilities may not.
running() {
  local pid
  docker exec "$1" systemctl show --property MainPID --value 'tarmac@*.service' tarmac-worker.service | grep . | while read -r pid; do
    docker exec --user tarmac "$1" readlink "/proc/$pid/exe"
  done | sort -u
}

run_release() {
  local host
  for host in "${hosts[@]}"; do [[ $(running "$host") == "/opt/tarmac/releases/$1/tarmac" ]] || return 1; done
}

# main_job: a key, the airports, and citizens by all the parts.
main_job() {
  local line id
  until_true 60 "the service answers through nginx" is_ready
  key=$(docker exec tarmac-1 tarmac-admin keys create --name test --scopes read,write,admin 2>/dev/null)
  line=$(upload fixtures/airports/airports.dat --dataset airports --wait)
  holds "the airports are in" grep -q ' complete: 7,698 read, 7,698 accepted' <<<"$line"
  id=$(id_in <<<"$line")
  holds "the archive has the file as it came" cmp -s fixtures/airports/airports.dat <(api "/imports/$id/source")
  line=$(upload "$(citizens 50000 1)" --dataset citizens --wait)
  holds "citizens are in" grep -q ' complete: 50,000 read, 50,000 accepted' <<<"$line"
}
