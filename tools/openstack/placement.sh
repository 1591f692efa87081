# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# Placement, which Nova's scheduler needs.

placement_packages=(placement-api uwsgi-core uwsgi-plugin-python3)
placement_daemons=(placement)
placement_needs=(mariadb memcached keystone)
PLACEMENT_ETC=$STATE/etc/placement

placement_prepare() {
  mkdir -p "$PLACEMENT_ETC"
  cat >"$PLACEMENT_ETC/placement.conf" <<CONF
[DEFAULT]
use_stderr = true
[api]
auth_strategy = keystone
[placement_database]
connection = $(database_url placement)
max_pool_size = 5
[keystone_authtoken]
$(authtoken placement)
CONF
  schema placement placement-common placement_schema
}

placement_schema() {
  mariadb_database placement
  step placement-manage placement-manage --config-file "$PLACEMENT_ETC/placement.conf" db sync
}

placement_start() {
  free_port placement placement
  OS_PLACEMENT_CONFIG_DIR=$PLACEMENT_ETC wsgi_daemon placement /usr/bin/placement-api 2
  wait_until placement http_up "http://127.0.0.1:${PORT[placement]}/"
}

placement_catalogue() { echo "placement placement placement http://127.0.0.1:${PORT[placement]}"; }
placement_seed() { :; }
placement_variables() { :; }
