# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# Neutron: the server with ML2, routers and floating IPs, and an external network "public". There are no agents:
# drivers/portbinding.py binds the ports; floating IPs and router ports stay DOWN.

neutron_packages=(neutron-api neutron-server)
neutron_daemons=(neutron)
neutron_needs=(rabbitmq mariadb memcached keystone)
NEUTRON_CONF=$STATE/etc/neutron.conf

neutron_prepare() {
  mkdir -p "$STATE"/var/neutron/{lock,state}
  cat >"$NEUTRON_CONF" <<CONF
[DEFAULT]
$(cloud_defaults)
$(cloud_files neutron)
bind_host = 127.0.0.1
bind_port = ${PORT[neutron]}
core_plugin = ml2
service_plugins = router
api_workers = 1
rpc_workers = 1
rpc_state_report_workers = 0
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
dhcp_agent_notification = false
[ml2]
type_drivers = local,flat,vlan,vxlan
tenant_network_types = vxlan
mechanism_drivers = karbor_test
extension_drivers = port_security
[ml2_type_flat]
flat_networks = *
[ml2_type_vxlan]
vni_ranges = 1:10000
[securitygroup]
enable_security_group = true
[quotas]
default_quota = -1
quota_network = -1
quota_subnet = -1
quota_port = -1
quota_router = -1
quota_floatingip = -1
quota_security_group = -1
quota_security_group_rule = -1
$(cloud_sections neutron)
CONF
  schema neutron neutron-common neutron_schema
}

neutron_schema() {
  mariadb_database neutron
  step neutron-manage neutron-db-manage --config-file "$NEUTRON_CONF" upgrade heads
}

neutron_start() {
  free_port neutron neutron
  PYTHONPATH=$DRIVERS daemon neutron neutron-server --config-file "$NEUTRON_CONF"
  wait_until neutron http_up "http://127.0.0.1:${PORT[neutron]}/"
}

neutron_catalogue() { echo "neutron neutron network http://127.0.0.1:${PORT[neutron]}"; }
neutron_seed() { cloud_seed neutron neutron; }
neutron_variables() { echo KARBOR_TEST_NEUTRON=1; }
