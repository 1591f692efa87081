# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# Manila: api, scheduler, share with shares as folders (drivers/sharefolder.py).

manila_packages=(manila-api manila-scheduler manila-share)
manila_daemons=(manila-api manila-scheduler manila-share)
manila_needs=(rabbitmq mariadb memcached keystone)
MANILA_CONF=$STATE/etc/manila.conf
MANILA_SHARES=$STATE/var/manila/shares

manila_prepare() {
  local data=$STATE/var/manila
  mkdir -p "$data"/{lock,state} "$MANILA_SHARES"
  cat >"$MANILA_CONF" <<CONF
[DEFAULT]
$(cloud_defaults)
$(cloud_files manila)
osapi_share_listen = 127.0.0.1
osapi_share_listen_port = ${PORT[manila]}
osapi_share_workers = 1
rootwrap_config = /etc/manila/rootwrap.conf
enabled_share_backends = folder
enabled_share_protocols = NFS,CIFS
default_share_type = default
periodic_interval = 10
[quota]
shares = -1
gigabytes = -1
snapshots = -1
snapshot_gigabytes = -1
share_networks = -1
[folder]
share_driver = sharefolder.Driver
share_backend_name = folder
driver_handles_share_servers = false
share_folder = $MANILA_SHARES
$(cloud_sections manila)
[coordination]
backend_url = file://$data/state
CONF
  schema manila manila-common manila_schema
}

manila_schema() {
  mariadb_database manila
  step manila-manage manila-manage --config-file "$MANILA_CONF" db sync
}

manila_start() {
  local name
  free_port manila manila-api
  for name in "${manila_daemons[@]}"; do
    PYTHONPATH=$DRIVERS daemon "$name" "$name" --config-file "$MANILA_CONF"
  done
  wait_until manila-api http_up "http://127.0.0.1:${PORT[manila]}/healthcheck"
}

manila_catalogue() { echo "manila manilav2 sharev2 http://127.0.0.1:${PORT[manila]}/v2"; }
manila_seed() { cloud_seed manila manila-api; }
manila_variables() { printf '%s\n' KARBOR_TEST_MANILA=1 "KARBOR_TEST_SHARES=$MANILA_SHARES"; }
