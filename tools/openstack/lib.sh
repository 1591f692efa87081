# shellcheck shell=bash disable=SC2034  # some variables are for the scripts that source this
# Shared by Cinder, Neutron, Placement, Nova and Manila; read after ../services/lib.sh.

CLOUD_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
DRIVERS=$CLOUD_HERE/drivers   # Python modules, loaded by the services

cloud_defaults() { # what stands in every [DEFAULT]
  cat <<EOT
use_stderr = true
my_ip = 127.0.0.1
host = karbor-test
auth_strategy = keystone
transport_url = $(rabbitmq_url)
# a loaded machine takes its time, and a test is not about that
rpc_response_timeout = 300
service_down_time = 120
report_interval = 5
EOT
}

cloud_files() { # cloud_files SERVICE: the same, about files
  cat <<EOT
state_path = $STATE/var/$1/state
api_paste_config = /etc/$1/api-paste.ini
EOT
}

cloud_sections() { # cloud_sections SERVICE: the sections that all have
  cat <<EOT
[database]
connection = $(database_url "$1")
max_pool_size = 5
[keystone_authtoken]
$(authtoken "$1")
[oslo_concurrency]
lock_path = $STATE/var/$1/lock
[oslo_messaging_notifications]
driver = noop
EOT
}

service_login() { # service_login USER: how a service logs in to speak to another
  cat <<EOT
auth_type = password
auth_url = $(identity_url)
user_domain_name = Default
project_domain_name = Default
project_name = service
username = $1
password = $PASSWORD
region_name = RegionOne
EOT
}

schema() { # schema SERVICE PACKAGE FUNCTION: migrates the database, once for each version of the package
  ! done_for "$1" "$2" || return 0
  "$3"
  mark_done "$1" "$2"
}

# cloud_seed SERVICE DAEMON: what the script says goes to the log of the daemon that it asks. It gives up by itself first.
cloud_seed() { step "$2" /usr/bin/python3 "$CLOUD_HERE/seed.py" "$(identity_url)" "$PASSWORD" "$1" $((STEP_TIMEOUT - 60)); }
