# shellcheck shell=bash disable=SC2034  # some variables are for the scripts that source this
# Shared by the scripts of this folder: names, the engine, readiness.
# All state is the engine's own: containers and networks carry a label and are found by their names.

RABBITMQ_TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$RABBITMQ_TOOLS/../services/lib.sh"

LABEL=karbor.test=rabbitmq
OFFICIAL=rabbitmq:3   # the series that the clouds run
LOCAL=karbor-test/rabbitmq              # what the script image builds; the tag is the version of the package
SUITE=${RABBITMQ_SUITE:-bookworm}       # whose packages an image is built of

container() { echo "karbor-rabbitmq-$1${2:+-$2}"; }   # container NAME [NODE]
network() { echo "karbor-rabbitmq-$1"; }

check_name() {
  [[ $1 =~ ^[a-z0-9][a-z0-9-]{0,30}$ ]] || die "\"$1\" is no name for a broker: a-z, 0-9 and -, at most 31 of them"
}

# engine ARGUMENT...: docker. An engine that hangs must not hang the tests, so what it is asked to do has its time.
engine() {
  local status=0
  timeout -k 10 "${ENGINE_TIMEOUT:-180}" docker "$@" || status=$?
  [ "$status" != 124 ] || say "docker $1 did not end within ${ENGINE_TIMEOUT:-180} s"
  return "$status"
}

engine_up() {
  command -v docker >/dev/null || { say 'there is no docker command'; return 1; }
  ENGINE_TIMEOUT=10 engine version --format '{{.Server.Version}}' >/dev/null 2>&1 || { say 'no Docker engine answers'; return 1; }
}

exists() { engine container inspect "$1" >/dev/null 2>&1; }
is_running() { [ "$(engine container inspect -f '{{.State.Running}}' "$1" 2>/dev/null)" = true ]; }
amqp_port() { engine port "$1" 5672/tcp | sed -n 's/^127\.0\.0\.1://p'; }

# An engine's proxy takes connections before the broker does: only the broker answers the AMQP header, with a
# frame of the type method.
answers() {
  local first
  # shellcheck disable=SC2016  # for the other bash
  first=$(timeout 10 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "AMQP\0\0\11\1" >&3 && head -c 1 <&3' - "$1" 2>/dev/null |
    od -An -tu1) || true
  [ "${first//[[:space:]]/}" = 1 ]
}

wait_for_broker() { # wait_for_broker CONTAINER SECONDS
  local end=$((SECONDS + $2))
  until answers "$(amqp_port "$1")"; do
    is_running "$1" || { engine logs --tail 15 "$1" >&2 || true; say "$1 has ended"; return 1; }
    [ "$SECONDS" -lt "$end" ] || { engine logs --tail 15 "$1" >&2 || true; say "$1 does not answer after $2 s"; return 1; }
    sleep 0.3
  done
}

remove() { # remove NAME: every container and the network of a broker; nothing that others made
  local found
  found=$(engine ps -aq --filter "label=$LABEL" --filter "label=karbor.test.name=$1")
  # shellcheck disable=SC2086  # a list of ids
  [ -z "$found" ] || engine rm -f -v $found >/dev/null
  found=$(engine network ls -q --filter "label=$LABEL" --filter "label=karbor.test.name=$1")
  # shellcheck disable=SC2086
  [ -z "$found" ] || engine network rm $found >/dev/null
}
