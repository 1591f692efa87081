# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# Swift: proxy, one object, container and account server with one replica, and the expirer that removes
# objects whose X-Delete-After ran out (bank leases). The expirer finds its work through the sums of accounts, which the
# container updater keeps; the object updater repeats entries of listings that did not get through; replicators and auditors have nothing to do on one machine with one replica.

swift_packages=(swift-proxy swift-account swift-container swift-object swift-object-expirer python3-keystonemiddleware python3-memcache curl)
swift_daemons=(swift-expirer swift-proxy swift-object-updater swift-updater swift-object swift-container swift-account)
swift_needs=(memcached)
SWIFT_ETC=$STATE/etc/swift

swift_start() {
  local kind
  free_port swift swift-proxy
  mkdir -p "$SWIFT_ETC" "$STATE"/var/swift/{cache,srv/disk}
  swift_storage
  swift_configure
  for kind in account container object; do
    swift_ring "$kind"
    swift_daemon "swift-$kind" "swift-$kind-server" "$SWIFT_ETC/$kind-server.conf"
  done
  swift_daemon swift-updater swift-container-updater "$SWIFT_ETC/container-server.conf"
  swift_daemon swift-object-updater swift-object-updater "$SWIFT_ETC/object-server.conf"
  swift_daemon swift-proxy swift-proxy-server "$SWIFT_ETC/proxy-server.conf"
  swift_daemon swift-expirer swift-object-expirer "$SWIFT_ETC/object-expirer.conf"
  for kind in account container object; do wait_until "swift-$kind" port_open "${PORT[swift-$kind]}"; done
  wait_until swift-proxy http_up "http://127.0.0.1:${PORT[swift]}/healthcheck"
}

swift_variables() { echo KARBOR_TEST_SWIFT=1; }

# Swift looks for swift.conf in /etc/swift whatever its other settings say; launch.py moves it to our folder.
swift_daemon() { # swift_daemon NAME PROGRAM CONFIG
  daemon "$1" /usr/bin/python3 "$HERE/swift-launch.py" "$SWIFT_ETC" "/usr/bin/$2" "$3" -v
}

# The object server keeps its metadata in extended attributes; a file system without them (tmpfs) gets a loop image.
swift_storage() {
  local srv=$STATE/var/swift/srv
  mountpoint -q "$srv" && return
  timeout "$ASK_TIMEOUT" /usr/bin/python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.swift.metadata", b"x" * 2000)' "$srv/disk" 2>/dev/null && return
  [ "$(id -u)" = 0 ] || die "$STATE has no extended attributes, and only root can mount a file system that has"
  [ -e "$srv.img" ] || { truncate -s 2G "$srv.img"; step swift-storage mkfs.ext4 -q -F "$srv.img"; }
  step swift-storage mount -o loop,user_xattr "$srv.img" "$srv"
  mkdir -p "$srv/disk"
}

swift_ring() { # swift_ring KIND
  local builder=$SWIFT_ETC/$1.builder device="r1z1-127.0.0.1:${PORT[swift-$1]}/disk"
  # rings hold ports: another port block needs other rings
  [ -e "$SWIFT_ETC/$1.ring.gz" ] && [ "$(cat "$builder.device" 2>/dev/null)" = "$device" ] && return
  rm -f "$builder"
  step swift-ring swift-ring-builder "$builder" create 6 1 0
  step swift-ring swift-ring-builder "$builder" add "$device" 1
  step swift-ring swift-ring-builder "$builder" rebalance
  echo "$device" >"$builder.device"
}

swift_filters() { # swift_filters NAME...: the sections of filters that need no settings
  local name
  for name in "$@"; do printf '[filter:%s]\nuse = egg:swift#%s\n' "$name" "${name//-/_}"; done
}

swift_configure() {
  local common kind
  common="user = $(id -un)
swift_dir = $SWIFT_ETC
bind_ip = 127.0.0.1
workers = 0
log_level = INFO
mount_check = false
disable_fallocate = true
devices = $STATE/var/swift/srv
recon_cache_path = $STATE/var/swift/cache"
  cat >"$SWIFT_ETC/swift.conf" <<EOF
[swift-hash]
swift_hash_path_prefix = karbor
swift_hash_path_suffix = test
[storage-policy:0]
name = Policy-0
default = yes
EOF
  cat >"$SWIFT_ETC/proxy-server.conf" <<EOF
[DEFAULT]
$common
bind_port = ${PORT[swift]}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl authtoken keystoneauth copy slo dlo versioned_writes symlink proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 30
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
$(authtoken swift)
delay_auth_decision = true
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member, swiftoperator
reseller_admin_role = ResellerAdmin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${PORT[memcached]}
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
$(swift_filters catch_errors gatekeeper healthcheck proxy-logging listing_formats bulk tempurl copy slo dlo symlink)
EOF
  for kind in account container object; do
    cat >"$SWIFT_ETC/$kind-server.conf" <<EOF
[DEFAULT]
$common
bind_port = ${PORT[swift-$kind]}
[pipeline:main]
pipeline = healthcheck $kind-server
[app:$kind-server]
use = egg:swift#$kind
$(swift_filters healthcheck)
# each round is a process of its own, which takes a second or two only to become ready
[$kind-updater]
interval = 30
concurrency = 1
slowdown = 0
account_suppression_time = 1
EOF
  done
  cat >"$SWIFT_ETC/internal-client.conf" <<EOF
[DEFAULT]
swift_dir = $SWIFT_ETC
[pipeline:main]
pipeline = catch_errors cache proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${PORT[memcached]}
$(swift_filters catch_errors)
EOF
  cat >"$SWIFT_ETC/object-expirer.conf" <<EOF
[DEFAULT]
$common
[object-expirer]
interval = 3
internal_client_conf_path = $SWIFT_ETC/internal-client.conf
[pipeline:main]
pipeline = proxy-server
[app:proxy-server]
use = egg:swift#proxy
EOF
}
