# shellcheck shell=bash disable=SC2034  # some variables are for the scripts that source this
# Shared by the scripts of this folder: where things lie, packages, daemons, readiness.
# Everything listens on 127.0.0.1, on ports counted from one base, so that services which
# already run on the standard ports of a developer's machine are never touched or mistaken for ours.

SERVICES=(rabbitmq memcached mariadb postgresql swift keystone glance)   # what "all" means
CLOUD=(cinder neutron placement nova manila)                             # more, for who asks; scripts in ../openstack
APART=(kubernetes galera)                                                # need none of them; scripts in ../NAME
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
STATE=${KARBOR_TEST_STATE:-/var/tmp/karbor-test}
BASE=${KARBOR_TEST_PORT_BASE:-27000}
declare -A PORT=(
  [rabbitmq]=$((BASE + 1)) [rabbitmq-dist]=$((BASE + 2)) [epmd]=$((BASE + 3))
  [memcached]=$((BASE + 4)) [mariadb]=$((BASE + 5)) [postgresql]=$((BASE + 6))
  [keystone]=$((BASE + 7)) [swift]=$((BASE + 8)) [swift-object]=$((BASE + 9))
  [swift-container]=$((BASE + 10)) [swift-account]=$((BASE + 11)) [glance]=$((BASE + 12))
  [cinder]=$((BASE + 13)) [neutron]=$((BASE + 14)) [placement]=$((BASE + 15)) [nova]=$((BASE + 16)) [manila]=$((BASE + 17))
  [kubernetes]=$((BASE + 18)) # and the next two for its etcd
  [galera]=$((BASE + 21))     # and the next seven
)
PASSWORD=password   # of every account; nothing here leaves the loopback interface

say() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }
die() { say "error: $*"; exit 1; }

known() { [[ " ${SERVICES[*]} ${CLOUD[*]} ${APART[*]} " == *" $1 "* ]] || { say "unknown service \"$1\"; there are: ${SERVICES[*]} ${CLOUD[*]} ${APART[*]}"; exit 2; }; }

make_state() {
  mkdir -p "$STATE"/{etc,var,log,run} || die "cannot write to $STATE (KARBOR_TEST_STATE chooses another place)"
  chmod 755 "$STATE" "$STATE"/{etc,var,log,run}
}

# as_user USER: sets AS_USER to the words before a command that have root drop to USER, because database servers refuse
# to run as root; anybody else runs it as they are. The words exec: the pid is the command's.
as_user() {
  AS_USER=()
  [ "$(id -u)" != 0 ] || AS_USER=(setpriv "--reuid=$1" "--regid=$1" --init-groups)
}

own_dir() { # own_dir USER DIR
  mkdir -p "$2"
  [ "$(id -u)" != 0 ] || chown "$1:" "$2"
}

# --- steps: each has its time, so that what hangs is named instead of waited for

STEP_TIMEOUT=${KARBOR_TEST_STEP_TIMEOUT:-600}   # seconds; a migration on a loaded machine takes minutes
ASK_TIMEOUT=$((STEP_TIMEOUT / 10 + 1))                  # for a question to a daemon that has answered already

# explain STATUS SECONDS LOG STEP...: says how a step failed, after the end of $STATE/log/LOG.log
explain() {
  local status=$1 seconds=$2 log=$STATE/log/$3.log why; shift 3
  why="failed ($status)"
  [ "$status" != 124 ] && [ "$status" != 137 ] || why="did not end within $seconds s"
  [ ! -s "$log" ] || tail -n 30 "$log" >&2
  say "error: $* $why, see $log"
}

# step LOG COMMAND...: runs a program whose output goes to that log
step() {
  local name=$1 status=0; shift
  timeout -k 10 "$STEP_TIMEOUT" "$@" >>"$STATE/log/$name.log" 2>&1 || status=$?
  [ "$status" = 0 ] || { explain "$status" "$STEP_TIMEOUT" "$name" "$@"; exit 1; }
}

# ask DAEMON COMMAND...: runs a client, whose output is wanted. What the daemon has said is shown when it has no answer.
ask() {
  local name=$1 status=0; shift
  timeout -k 10 "$ASK_TIMEOUT" "$@" || status=$?
  [ "$status" = 0 ] || { explain "$status" "$ASK_TIMEOUT" "$name" "$1"; return "$status"; }
}

load_services() { # the functions and arrays of all services
  local service
  . "$HERE/../openstack/lib.sh"
  for service in "${SERVICES[@]}"; do
    # shellcheck source=/dev/null
    . "$HERE/$service.sh"
  done
  for service in "${CLOUD[@]}"; do
    # shellcheck source=/dev/null
    . "$HERE/../openstack/$service.sh"
  done
  for service in "${APART[@]}"; do
    # shellcheck source=/dev/null
    . "$HERE/../$service/$service.sh"
  done
}

# --- packages

# Maintainer scripts must not start daemons on the standard ports. A policy that is already there is left alone.
with_services_held() {
  local policy=/usr/sbin/policy-rc.d made='' status=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1
  fi
  "$@" || status=$?
  [ -z "$made" ] || rm -f "$policy"
  return "$status"
}

# An hour is for a slow mirror. apt-get waits for other runs by itself, and ends by itself when the network is gone.
apt_run() {
  DEBIAN_FRONTEND=noninteractive timeout -k 60 3600 \
    apt-get -q -y -o DPkg::Lock::Timeout=900 -o Acquire::Retries=3 -o Acquire::http::Timeout=60 -o Acquire::https::Timeout=60 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" >>"$STATE/log/apt.log" 2>&1
}

install_missing() { # install_missing PACKAGE...: one apt run for what is not installed yet
  local missing=() p
  for p in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "packages are missing and only root can install them: apt-get install --no-install-recommends ${missing[*]}"
  say "apt-get install ${missing[*]}"
  timeout -k 10 "$ASK_TIMEOUT" debconf-set-selections <"$HERE/debconf.conf" || die "debconf-set-selections failed ($?)"
  with_services_held apt_run install --no-install-recommends "${missing[@]}" ||
    { apt_run update; with_services_held apt_run install --no-install-recommends "${missing[@]}"; } ||
    { tail -n 20 "$STATE/log/apt.log" >&2; die "apt-get install failed, see $STATE/log/apt.log"; }
}

# --- daemons: a pid file holds pid, start time (so that a reused pid is not taken for ours) and the signal that stops it

started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

running() { # running DAEMON
  local pid start
  read -r pid start _ 2>/dev/null <"$STATE/run/$1.pid" && [ -n "$start" ] && [ "$(started_at "$pid")" = "$start" ]
}

any_running() {
  local file
  for file in "$STATE"/run/*.pid; do
    if [ -e "$file" ] && running "$(basename "$file" .pid)"; then return 0; fi
  done
  return 1
}

daemon() { # daemon NAME COMMAND...: in a session of its own; STOP_SIGNAL in the environment overrides TERM
  running "$1" && return 0
  how_started "$@" >"$STATE/run/$1.start"
  local name=$1; shift
  setsid "$@" >>"$STATE/log/$name.log" 2>&1 </dev/null 9>&- &
  echo "$! $(started_at $!) ${STOP_SIGNAL:-TERM}" >"$STATE/run/$name.pid"
}

# how_started NAME COMMAND...: the same call of daemon as a script, with what the daemons of this folder read from the
# environment
how_started() {
  local variable
  for variable in $(compgen -e | grep -E '^(PATH|HOME|PYTHONPATH|OS_KEYSTONE_CONFIG_FILES|STOP_SIGNAL|RABBITMQ_.*|ERL_.*)$'); do
    declare -p "$variable"
  done
  printf 'cd %q\ndaemon' "$PWD"
  printf ' %q' "$@"
  echo
}

stop() { # stop DAEMON [SIGNAL]: the signal, by default its own, to the whole group; KILL after 20 s
  local pid signal i
  if running "$1"; then
    read -r pid _ signal <"$STATE/run/$1.pid"
    signal=${2:-$signal}
    kill -s "$signal" -- "-$pid" 2>/dev/null || kill -s "$signal" "$pid"
    for ((i = 0; i < 100; i++)); do running "$1" || break; sleep 0.2; done
    ! running "$1" || kill -s KILL -- "-$pid"
    say "stopped $1"
  fi
  rm -f "$STATE/run/$1.pid"
}

# shellcheck disable=SC2016  # for the other bash
port_open() { timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"' - "$1" 2>/dev/null; }
http_up() { curl -s -o /dev/null --max-time 5 "$1"; }

# wait_until DAEMON COMMAND...: until COMMAND, which ends by itself, succeeds; at once an error when the daemon dies, after
# STEP_TIMEOUT otherwise. A COMMAND of this file is noted for who starts the daemon again.
wait_until() {
  local name=$1 end=$((SECONDS + STEP_TIMEOUT)); shift
  [[ " port_open http_up " != *" $1 "* ]] || echo "$*" >"$STATE/run/$name.ready"
  until "$@"; do
    running "$name" || { tail -n 30 "$STATE/log/$name.log" >&2; die "$name ended, see $STATE/log/$name.log"; }
    [ "$SECONDS" -lt "$end" ] || { explain 124 "$STEP_TIMEOUT" "$name" "the wait for $name ($*)"; exit 1; }
    sleep 0.2
  done
}

free_port() { # free_port NAME DAEMON: a foreign listener on one of our ports is an error, not a service of ours
  running "$2" || ! port_open "${PORT[$1]}" ||
    die "port ${PORT[$1]} ($1) is taken by somebody else; KARBOR_TEST_PORT_BASE chooses another block"
}

# Ports that the kernel gives to clients too may be taken by one, now and then, just when a service is started.
warn_of_client_ports() {
  local first last
  read -r first last 2>/dev/null </proc/sys/net/ipv4/ip_local_port_range || return 0
  [ $((BASE + 17)) -lt "$first" ] || [ "$BASE" -gt "$last" ] ||
    say "warning: ports from $BASE are among those of clients ($first to $last), so services may fail to start; choose a lower KARBOR_TEST_PORT_BASE"
}

# done_for NAME PACKAGE / mark_done: slow steps (schema migrations) are run once per version of the package
done_for() { [ "$(cat "$STATE/var/$1.done" 2>/dev/null)" = "$(dpkg-query -W -f='${Version}' "$2")" ]; }
mark_done() { dpkg-query -W -f='${Version}' "$2" >"$STATE/var/$1.done"; }

# --- what OpenStack services have in common

database_url() { echo "mysql+pymysql://${2:-$1}:$PASSWORD@127.0.0.1:${PORT[mariadb]}/$1?charset=utf8"; }   # NAME [USER]
identity_url() { echo "http://127.0.0.1:${PORT[keystone]}/v3"; }

authtoken() { # authtoken USER: the body of [keystone_authtoken]
  cat <<EOF
www_authenticate_uri = $(identity_url)
auth_url = $(identity_url)
memcached_servers = 127.0.0.1:${PORT[memcached]}
auth_type = password
user_domain_name = Default
project_domain_name = Default
project_name = service
username = $1
password = $PASSWORD
service_token_roles = admin
service_token_roles_required = false
EOF
}

# wsgi_daemon NAME FILE THREADS: a WSGI program on NAME's port. uwsgi's http-socket closes each connection without saying
# so, which costs clients a failed request now and then.
wsgi_daemon() {
  daemon "$1" uwsgi --plugin python3 --http-socket "127.0.0.1:${PORT[$1]}" --wsgi-file "$2" \
    --master --processes 1 --threads "$3" --enable-threads --lazy-apps --need-app \
    --die-on-term --buffer-size 65535 --disable-logging --socket-timeout 120 --add-header 'Connection: close'
}
