# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# PostgreSQL: a cluster of its own beside the ones that the system may have.

postgresql_packages=(postgresql)
postgresql_daemons=(postgresql)
postgresql_needs=()

postgresql_start() {
  local data=$STATE/var/postgresql bin
  bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
  free_port postgresql postgresql
  own_dir postgres "$data"
  as_user postgres
  [ -e "$data/PG_VERSION" ] ||
    step postgresql "${AS_USER[@]}" "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync
  # INT is the "fast" shutdown: TERM would wait for clients
  STOP_SIGNAL=INT daemon postgresql "${AS_USER[@]}" "$bin/postgres" -D "$data" -h 127.0.0.1 -p "${PORT[postgresql]}" -k "$data" \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200
  wait_until postgresql postgresql_up
  [ "$(postgresql_sql -c "SELECT 1 FROM pg_roles WHERE rolname='karbor'")" = 1 ] ||
    postgresql_sql -c "CREATE ROLE karbor LOGIN SUPERUSER PASSWORD '$PASSWORD'"
  [ "$(postgresql_sql -c "SELECT 1 FROM pg_database WHERE datname='karbor'")" = 1 ] ||
    postgresql_sql -c 'CREATE DATABASE karbor OWNER karbor'
}

POSTGRESQL_CLIENT=(psql -X -q -A -t -h 127.0.0.1 -p "${PORT[postgresql]}" -U postgres -d postgres)
postgresql_up() { timeout 5 "${POSTGRESQL_CLIENT[@]}" -c 'SELECT 1' >/dev/null 2>&1; }
postgresql_sql() { ask postgresql "${POSTGRESQL_CLIENT[@]}" "$@"; }

postgresql_variables() { echo "KARBOR_TEST_POSTGRES=postgresql://karbor:$PASSWORD@127.0.0.1:${PORT[postgresql]}/karbor"; }
