# shellcheck shell=bash disable=SC2034
# Stands in for the functions and variables of devstack that the plugin uses: the same effects, below $DEST alone.
# What a function was asked for and cannot do here is appended to $DEST/asked.
set -euo pipefail

STACK_USER=$(id -un)
DATA_DIR=$DEST/data
SERVICE_PASSWORD=secret
SERVICE_PROJECT_NAME=service
KEYSTONE_SERVICE_URI=http://127.0.0.1:1/identity
ENABLE_DEBUG_LOG_LEVEL=True
ENABLED_SERVICES=${ENABLED_SERVICES:-key,mysql,rabbit}

asked() { echo "$*" >>"$DEST/asked"; }
die() { echo "line $1: ${*:2}" >&2; exit 1; }
echo_summary() { echo "$*"; }
sudo() { "$@"; }

is_service_enabled() {
    local s
    for s in "$@"; do [[ ,$ENABLED_SERVICES, != *,$s,* ]] || return 0; done
    return 1
}
enable_service() { local s; for s in "$@"; do is_service_enabled "$s" || ENABLED_SERVICES+=,$s; done; }
disable_service() {
    local s
    for s in "$@"; do
        ENABLED_SERVICES=,$ENABLED_SERVICES,
        ENABLED_SERVICES=${ENABLED_SERVICES//,$s,/,}
        ENABLED_SERVICES=${ENABLED_SERVICES#,} ENABLED_SERVICES=${ENABLED_SERVICES%,}
    done
}

# iniset FILE SECTION OPTION VALUE: in its place if it is there, else at the head of its section, else in a new one.
iniset() {
    VALUE=$4 awk -v section="$2" -v option="$3" '
        function put() { print option " = " ENVIRON["VALUE"]; done = 1 }
        { lines[NR] = $0 }
        END {
            for (i = 1; i <= NR; i++) {
                if (lines[i] ~ /^\[/) at = lines[i]
                key = lines[i]; sub(/[ \t]*=.*/, "", key)
                if (at == "[" section "]" && key == option) found = i
            }
            for (i = 1; i <= NR; i++) {
                if (i == found) { put(); continue }
                print lines[i]
                if (!found && !done && lines[i] == "[" section "]") put()
            }
            if (!done) { print "\n[" section "]"; put() }
        }' "$1" >"$1.new"
    cat "$1.new" >"$1"
    rm "$1.new"
}

iniset_rpc_backend() { iniset "$2" DEFAULT transport_url 'rabbit://stackrabbit:secret@127.0.0.1:1/'; }
database_connection_url() { echo "sqlite:///$DEST/$1.sqlite"; }
recreate_database() { asked "recreate_database $*"; }
create_service_user() { asked "create_service_user $*"; }
openstack() { asked "openstack $*"; }
configure_keystone_authtoken_middleware() {
    iniset "$1" "${3:-keystone_authtoken}" username "$2"
    iniset "$1" "${3:-keystone_authtoken}" auth_url "$KEYSTONE_SERVICE_URI"
}

# As a unit of systemd would: a process of its own, its words split at blanks, ended by SIGTERM.
run_process() {
    # shellcheck disable=SC2086
    setsid $2 >"$DEST/$1.log" 2>&1 </dev/null &
    echo $! >"$DEST/$1.pid"
}
stop_process() {
    local pid
    pid=$(cat "$DEST/$1.pid")
    kill "$pid"
    while [[ -d /proc/$pid && $(cut -d' ' -f3 "/proc/$pid/stat") != Z ]]; do sleep 0.05; done
    rm "$DEST/$1.pid"
}

# The plugin builds with make; the test has built already.
make() { asked "make ${2#"$DEST/"} $3"; }
