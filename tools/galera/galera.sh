# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# galera: two nodes of MariaDB that both take writes. They need nothing of the other MariaDB.

galera_packages=(mariadb-server galera-4 rsync lsof)
galera_daemons=(galera-1 galera-2)
galera_needs=()

galera_start() {
  free_port galera galera-1
  galera_node 1 --wsrep-new-cluster
  local client=(mariadb --no-defaults -u root -S "$STATE/var/galera-1/mariadb.sock")
  ask galera "${client[@]}" -e "CREATE DATABASE IF NOT EXISTS karbor CHARACTER SET utf8mb3;
    CREATE USER IF NOT EXISTS 'karbor'@'127.0.0.1' IDENTIFIED BY '$PASSWORD'; GRANT ALL ON *.* TO 'karbor'@'127.0.0.1' WITH GRANT OPTION"
  galera_node 2
}

# galera_node N [OPTION...]: its ports are those from PORT[galera] on, four for each node
galera_node() {
  local data=$STATE/var/galera-$1 first=${PORT[galera]} node=$1; shift
  local sql=$((first + 4 * (node - 1)))
  own_dir mysql "$data"
  as_user mysql
  [ -d "$data/mysql" ] || step galera "${AS_USER[@]}" mariadb-install-db --no-defaults --datadir="$data" \
    --auth-root-authentication-method=normal --skip-test-db
  daemon "galera-$node" mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$data/mariadb.sock" --pid-file="$data/mariadb.pid" \
    --bind-address=127.0.0.1 --port="$sql" --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 \
    --performance-schema=OFF --skip-name-resolve --binlog-format=ROW --innodb-autoinc-lock-mode=2 \
    --wsrep-on=ON --wsrep-provider=/usr/lib/libgalera_smm.so --wsrep-cluster-name=karbor --wsrep-node-name="galera-$node" \
    --wsrep-cluster-address="gcomm://127.0.0.1:$((first + 1)),127.0.0.1:$((first + 5))" \
    --wsrep-node-address=127.0.0.1 --wsrep-node-incoming-address="127.0.0.1:$sql" \
    --wsrep-sst-method=rsync --wsrep-sst-receive-address="127.0.0.1:$((sql + 2))" \
    --wsrep-provider-options="gmcast.listen_addr=tcp://127.0.0.1:$((sql + 1));ist.recv_addr=127.0.0.1:$((sql + 3))" "$@"
  wait_until "galera-$node" galera_synced "$data/mariadb.sock" "$node"
}

galera_synced() { # galera_synced SOCKET SIZE: whether a node takes writes in a cluster of that size
  [ "$(timeout 5 mariadb --no-defaults -u root -S "$1" -BN -e "SELECT GROUP_CONCAT(VARIABLE_VALUE ORDER BY VARIABLE_NAME)
    FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN ('WSREP_CLUSTER_SIZE', 'WSREP_LOCAL_STATE_COMMENT')" 2>/dev/null)" = "$2,Synced" ]
}

galera_variables() {
  local url="mysql+pymysql://karbor:$PASSWORD@127.0.0.1" first=${PORT[galera]}
  echo "KARBOR_TEST_GALERA=$url:$first/karbor?charset=utf8"
  echo "KARBOR_TEST_GALERA_SECOND=$url:$((first + 4))/karbor?charset=utf8"
}
