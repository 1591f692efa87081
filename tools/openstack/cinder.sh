# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# Cinder: api, scheduler, volume with volumes as files (drivers/volumefile.py), backup into the caller's own Swift.

cinder_packages=(cinder-api cinder-scheduler cinder-volume cinder-backup python3-zstd qemu-utils sudo dmidecode)
cinder_daemons=(cinder-api cinder-scheduler cinder-volume cinder-backup)
cinder_needs=(rabbitmq mariadb memcached keystone swift glance)
CINDER_CONF=$STATE/etc/cinder.conf
CINDER_VOLUMES=$STATE/var/cinder/volumes

cinder_prepare() {
  local data=$STATE/var/cinder
  mkdir -p "$data"/{lock,state,conversion} "$CINDER_VOLUMES"
  cat >"$CINDER_CONF" <<CONF
[DEFAULT]
$(cloud_defaults)
$(cloud_files cinder)
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = ${PORT[cinder]}
osapi_volume_workers = 1
rootwrap_config = /etc/cinder/rootwrap.conf
image_conversion_dir = $data/conversion
glance_api_servers = http://127.0.0.1:${PORT[glance]}
enabled_backends = file
default_volume_type = file
periodic_interval = 10
volume_clear = none
# with the caller's token, so the backup's objects are in the caller's account
backup_driver = cinder.backup.drivers.swift.SwiftBackupDriver
backup_swift_auth = per_user
swift_catalog_info = object-store:swift:publicURL
backup_swift_object_size = 4194304
backup_compression_algorithm = zstd
backup_swift_enable_progress_timer = false
backup_workers = 1
quota_volumes = -1
quota_snapshots = -1
quota_gigabytes = -1
quota_backups = -1
quota_backup_gigabytes = -1
[file]
volume_driver = volumefile.Driver
volume_backend_name = file
file_folder = $CINDER_VOLUMES
# a GiB of a volume; a backup of 16 MiB takes a second
file_bytes_per_gib = 16777216
[nova]
interface = public
$(service_login nova)
[service_user]
send_service_user_token = true
$(service_login cinder)
$(cloud_sections cinder)
[coordination]
backend_url = file://$data/state
CONF
  schema cinder cinder-common cinder_schema
}

cinder_schema() {
  mariadb_database cinder
  step cinder-manage cinder-manage --config-file "$CINDER_CONF" db sync
}

cinder_start() {
  local name
  free_port cinder cinder-api
  for name in "${cinder_daemons[@]}"; do
    PYTHONPATH=$DRIVERS daemon "$name" "$name" --config-file "$CINDER_CONF"
  done
  wait_until cinder-api http_up "http://127.0.0.1:${PORT[cinder]}/healthcheck"
}

cinder_catalogue() { echo "cinder cinderv3 volumev3 http://127.0.0.1:${PORT[cinder]}/v3/\$(project_id)s"; }
cinder_seed() { cloud_seed cinder cinder-api; }
cinder_variables() { printf '%s\n' KARBOR_TEST_CINDER=1 "KARBOR_TEST_VOLUMES=$CINDER_VOLUMES"; }
