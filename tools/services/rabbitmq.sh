# shellcheck shell=bash disable=SC2034  # the variables are read by up and down
# RabbitMQ: a node, an epmd and a data folder of its own. The vendor's start script is used instead of
# Debian's wrapper, because the wrapper insists on the system's user and folders.

rabbitmq_packages=(rabbitmq-server)
rabbitmq_daemons=(rabbitmq)
rabbitmq_needs=()

rabbitmq_environment() {
  export HOME=$STATE/var/rabbitmq
  export RABBITMQ_NODENAME=karbor-test@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
  export RABBITMQ_NODE_PORT=${PORT[rabbitmq]} RABBITMQ_DIST_PORT=${PORT[rabbitmq-dist]}
  export ERL_EPMD_PORT=${PORT[epmd]} ERL_EPMD_ADDRESS=127.0.0.1
  export RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE=$STATE/etc/rabbitmq
  export RABBITMQ_ENABLED_PLUGINS_FILE=$STATE/etc/rabbitmq-plugins
  export RABBITMQ_MNESIA_BASE=$STATE/var/rabbitmq RABBITMQ_LOG_BASE=$STATE/log
  export RABBITMQ_PID_FILE=$STATE/var/rabbitmq/beam.pid
  # a test broker must not burn cores while it waits
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
}

rabbitmq_start() {
  running rabbitmq && return 0
  free_port rabbitmq rabbitmq
  mkdir -p "$STATE/var/rabbitmq"
  cat >"$STATE/etc/rabbitmq.conf" <<EOF
loopback_users.guest = true
# a developer's disk may be nearly full; the default watermark would block every publisher without a word
disk_free_limit.absolute = 50MB
EOF
  echo '[].' >"$STATE/etc/rabbitmq-plugins"
  (rabbitmq_environment; daemon rabbitmq /usr/lib/rabbitmq/bin/rabbitmq-server)
  wait_until rabbitmq port_open "${PORT[rabbitmq]}"
}

rabbitmq_stopped() { # epmd outlives its nodes
  ERL_EPMD_PORT=${PORT[epmd]} timeout 10 epmd -kill >/dev/null 2>&1 || true
}

rabbitmq_url() { echo "rabbit://guest:guest@127.0.0.1:${PORT[rabbitmq]}/"; }

rabbitmq_variables() {
  echo "RABBIT_URL=$(rabbitmq_url)"
  # a command with arguments, for this node and no other: $RABBITMQCTL list_queues
  echo "RABBITMQCTL=env KARBOR_TEST_STATE=$STATE KARBOR_TEST_PORT_BASE=$BASE $HERE/rabbitmqctl"
}
