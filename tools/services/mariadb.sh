# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# MariaDB: a data folder of its own; the configuration files of the system are not read.

mariadb_packages=(mariadb-server python3-pymysql)
mariadb_daemons=(mariadb)
mariadb_needs=()

mariadb_start() {
  local data=$STATE/var/mariadb
  free_port mariadb mariadb
  own_dir mysql "$data"
  as_user mysql
  [ -d "$data/mysql" ] || step mariadb "${AS_USER[@]}" mariadb-install-db --no-defaults --datadir="$data" \
    --auth-root-authentication-method=normal --skip-test-db
  # speed over durability: the data are a test's
  daemon mariadb mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$data/mariadb.sock" \
    --bind-address=127.0.0.1 --port="${PORT[mariadb]}" --pid-file="$data/mariadb.pid" --max-connections=400 \
    --innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=0 --performance-schema=OFF --skip-name-resolve
  wait_until mariadb mariadb_up
  mariadb_database karbor
  mariadb_sql -e "GRANT ALL ON *.* TO 'karbor'@'127.0.0.1' WITH GRANT OPTION" # tests make databases and users of their own
}

MARIADB_CLIENT=(mariadb --no-defaults -u root -S "$STATE/var/mariadb/mariadb.sock")
mariadb_up() { timeout 5 "${MARIADB_CLIENT[@]}" -e 'SELECT 1' >/dev/null 2>&1; }
mariadb_sql() { ask mariadb "${MARIADB_CLIENT[@]}" "$@"; }

mariadb_database() { # mariadb_database NAME [USER]: with a user, of the same name unless told
  mariadb_sql -e "CREATE DATABASE IF NOT EXISTS $1 CHARACTER SET utf8mb3;
    CREATE USER IF NOT EXISTS '${2:-$1}'@'127.0.0.1' IDENTIFIED BY '$PASSWORD';
    GRANT ALL ON $1.* TO '${2:-$1}'@'127.0.0.1'"
}

mariadb_variables() { echo "KARBOR_TEST_MYSQL=$(database_url karbor)"; }
