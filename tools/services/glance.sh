# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# Glance with the file store, and one public image "tiny" of 1 MiB.

glance_packages=(glance-api python3-requests python3-memcache curl)
glance_daemons=(glance)
glance_needs=(mariadb memcached keystone)

glance_start() {
  local conf=$STATE/etc/glance-api.conf data=$STATE/var/glance
  free_port glance glance
  mkdir -p "$data"/{images,staging,tasks,lock}
  cat >"$conf" <<EOF
[DEFAULT]
bind_host = 127.0.0.1
bind_port = ${PORT[glance]}
public_endpoint = http://127.0.0.1:${PORT[glance]}
workers = 0
use_stderr = true
enabled_backends = file:file
show_image_direct_url = true
[database]
connection = $(database_url glance)
max_pool_size = 5
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = $data/images
[os_glance_staging_store]
filesystem_store_datadir = $data/staging
[os_glance_tasks_store]
filesystem_store_datadir = $data/tasks
[keystone_authtoken]
$(authtoken glance)
[paste_deploy]
flavor = keystone
config_file = /etc/glance/glance-api-paste.ini
[oslo_concurrency]
lock_path = $data/lock
[oslo_messaging_notifications]
driver = noop
EOF
  if ! done_for glance glance-common; then
    mariadb_database glance
    step glance-manage glance-manage --config-file "$conf" db_sync
    mark_done glance glance-common
  fi
  daemon glance glance-api --config-file "$conf"
  wait_until glance http_up "http://127.0.0.1:${PORT[glance]}/healthcheck"
}

glance_seed() { step glance /usr/bin/python3 "$HERE/image.py" "$(identity_url)" "$PASSWORD"; }

glance_variables() { echo KARBOR_TEST_GLANCE=1; }
