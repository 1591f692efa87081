# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# Keystone v3 under uwsgi; users, projects, roles and catalogue come from identity.py.

keystone_packages=(keystone uwsgi-core uwsgi-plugin-python3 python3-keystoneclient python3-pymemcache curl)
keystone_daemons=(keystone)
keystone_needs=(mariadb memcached)

keystone_start() {
  local conf=$STATE/etc/keystone.conf keys=$STATE/var/keystone user
  user=$(id -un)
  free_port keystone keystone
  mkdir -p "$keys"
  cat >"$conf" <<EOF
[DEFAULT]
use_stderr = true
log_dir =
[database]
connection = $(database_url keystone)
max_pool_size = 5
[token]
provider = fernet
expiration = 14400
[fernet_tokens]
key_repository = $keys/fernet
[credential]
key_repository = $keys/credential
[identity]
# the default of 12 rounds costs a quarter of a second of CPU for each login
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.pymemcache
memcache_servers = 127.0.0.1:${PORT[memcached]}
expiration_time = 60
[oslo_policy]
policy_file = $STATE/etc/keystone-policy.yaml
[oslo_messaging_notifications]
driver = noop
EOF
  : >"$STATE/etc/keystone-policy.yaml"
  if ! done_for keystone keystone; then
    local manage=(step keystone-manage keystone-manage --config-file "$conf") url
    url=$(identity_url)
    mariadb_database keystone
    "${manage[@]}" db_sync
    "${manage[@]}" fernet_setup --keystone-user "$user" --keystone-group "$(id -gn)"
    "${manage[@]}" credential_setup --keystone-user "$user" --keystone-group "$(id -gn)"
    "${manage[@]}" bootstrap --bootstrap-username admin --bootstrap-password "$PASSWORD" --bootstrap-project-name admin \
      --bootstrap-service-name keystone --bootstrap-region-id RegionOne \
      --bootstrap-admin-url "$url" --bootstrap-internal-url "$url" --bootstrap-public-url "$url"
    mark_done keystone keystone
  fi
  OS_KEYSTONE_CONFIG_FILES=$conf wsgi_daemon keystone /usr/bin/keystone-wsgi-public 6
  wait_until keystone http_up "$(identity_url)"
}

# The catalogue has Swift and Glance always, and of the others those that this run starts or an earlier one did. What the
# script says goes to Keystone's log, among Keystone's own words to it.
keystone_seed() {
  local service
  {
    echo "keystone keystone identity $(identity_url)"
    echo "swift swift object-store http://127.0.0.1:${PORT[swift]}/v1/AUTH_\$(project_id)s"
    echo "glance glance image http://127.0.0.1:${PORT[glance]}"
    for service in "${CLOUD[@]}"; do
      local -n daemons="${service}_daemons"
      if [ -n "${wanted[$service]:-}" ] || running "${daemons[0]}"; then "${service}_catalogue"; fi
    done
  } | step keystone /usr/bin/python3 "$HERE/identity.py" "$(identity_url)" "$PASSWORD"
}

keystone_variables() {
  echo "KARBOR_TEST_KEYSTONE=$(identity_url)"
  echo "KARBOR_TEST_BRIEF_LOGIN=timeout -k 10 $STEP_TIMEOUT /usr/bin/python3 $HERE/brieflogin.py $STATE/etc/keystone.conf"
}
