# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# memcached: the token cache of Keystone, Swift and Glance.

memcached_packages=(memcached)
memcached_daemons=(memcached)
memcached_needs=()

memcached_start() {
  free_port memcached memcached
  daemon memcached memcached -u memcache -l 127.0.0.1 -p "${PORT[memcached]}" -m 64
  wait_until memcached port_open "${PORT[memcached]}"
}

memcached_variables() { :; }
