# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# Nova: api, conductor, scheduler, and a compute service with drivers/computefake.py, in which no guest runs.

nova_packages=(nova-api nova-conductor nova-scheduler)
nova_daemons=(nova-api nova-conductor nova-scheduler nova-compute)
nova_needs=(rabbitmq mariadb memcached keystone glance cinder neutron placement)
NOVA_CONF=$STATE/etc/nova.conf

nova_prepare() {
  mkdir -p "$STATE"/var/nova/{lock,state}
  cat >"$NOVA_CONF" <<CONF
[DEFAULT]
$(cloud_defaults)
$(cloud_files nova)
enabled_apis = osapi_compute
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = ${PORT[nova]}
osapi_compute_workers = 1
compute_driver = computefake.Driver
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
[wsgi]
api_paste_config = /etc/nova/api-paste.ini
[api_database]
connection = $(database_url nova_api nova)
max_pool_size = 5
[conductor]
workers = 1
[scheduler]
workers = 1
[filter_scheduler]
track_instance_changes = false
[quota]
instances = -1
cores = -1
ram = -1
key_pairs = -1
server_groups = -1
[glance]
api_servers = http://127.0.0.1:${PORT[glance]}
[cinder]
catalog_info = volumev3:cinderv3:publicURL
os_region_name = RegionOne
$(service_login nova)
[neutron]
$(service_login nova)
[placement]
$(service_login nova)
[service_user]
send_service_user_token = true
$(service_login nova)
$(cloud_sections nova)
CONF
  schema nova nova-common nova_schema
}

nova_manage() { step nova-manage nova-manage --config-file "$NOVA_CONF" "$@"; }

# A cell knows where its database and its broker are. As templates, filled in from the configuration, these stay right when
# the port block moves.
nova_schema() {
  local name server='{scheme}://{username}:{password}@{hostname}:{port}'
  for name in nova nova_api nova_cell0; do mariadb_database "$name" nova; done
  nova_manage api_db sync
  nova_manage cell_v2 map_cell0 --database_connection "$server/nova_cell0?{query}"
  [ "$(mariadb_sql -N -e "SELECT COUNT(*) FROM nova_api.cell_mappings WHERE name = 'cell1'")" = 1 ] ||
    nova_manage cell_v2 create_cell --name=cell1 --database_connection "$server/{path}?{query}" --transport-url "$server/{path}"
  nova_manage db sync
}

nova_start() {
  local name
  free_port nova nova-api
  for name in nova-conductor nova-scheduler nova-api; do
    daemon "$name" "$name" --config-file "$NOVA_CONF"
  done
  PYTHONPATH=$DRIVERS daemon nova-compute /usr/bin/python3 "$CLOUD_HERE/nova-compute.py" "$DRIVERS" --config-file "$NOVA_CONF"
  wait_until nova-api http_up "http://127.0.0.1:${PORT[nova]}/"
  # The scheduler sees a host once it is mapped to a cell; its own search for hosts comes too late.
  [ "$(mariadb_sql -N -e 'SELECT COUNT(*) FROM nova_api.host_mappings')" = 0 ] || return 0
  wait_until nova-compute nova_has_host
  nova_manage cell_v2 discover_hosts
}

nova_has_host() {
  local hosts
  hosts=$(mariadb_sql -N -e 'SELECT COUNT(*) FROM nova.compute_nodes') && [ "$hosts" != 0 ]
}

nova_catalogue() { echo "nova nova compute http://127.0.0.1:${PORT[nova]}/v2.1"; }
nova_seed() { cloud_seed nova nova-api; }
nova_variables() { echo KARBOR_TEST_NOVA=1; }
