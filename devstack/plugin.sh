# shellcheck shell=bash
# Devstack plugin: builds karbor-protection from this tree and runs it in place of the Python worker.
# local.conf.sample beside this file shows how it is enabled.

_KARBOR_GO_XTRACE=$(set +o | grep xtrace)
set +o xtrace

function install_karbor_go {
    type -p go >/dev/null || die $LINENO "karbor-go needs Go ($(sed -n 's/^go //p' "$KARBOR_GO_DIR/go.mod") or newer) in PATH"
    make -C "$KARBOR_GO_DIR" build
    sudo install -d "$KARBOR_GO_BIN_DIR"
    sudo install -m 755 "$KARBOR_GO_DIR/bin/karbor-protection" "$KARBOR_GO_PROGRAM"
    sudo install -m 755 "$KARBOR_GO_DIR/bin/karborctl" "$KARBOR_GO_BIN_DIR"
}

# The Python services read the same file; what their plugin has set is kept, the worker's needs are added.
function configure_karbor_go {
    local auth_url=$KEYSTONE_SERVICE_URI
    sudo install -d -o "$STACK_USER" "$KARBOR_GO_CONF_DIR" "$KARBOR_GO_CONF_DIR/providers.d" "$KARBOR_GO_STATE_DIR" "$KARBOR_GO_BANK_DIR"
    [[ -e $KARBOR_GO_CONF ]] || install -m 640 /dev/null "$KARBOR_GO_CONF"

    iniset "$KARBOR_GO_CONF" DEFAULT debug "$ENABLE_DEBUG_LOG_LEVEL"
    iniset "$KARBOR_GO_CONF" DEFAULT state_path "$KARBOR_GO_STATE_DIR"
    iniset "$KARBOR_GO_CONF" DEFAULT provider_config_dir "$KARBOR_GO_CONF_DIR/providers.d"
    iniset_rpc_backend karbor "$KARBOR_GO_CONF"
    iniset "$KARBOR_GO_CONF" database connection "$(database_connection_url karbor)"
    iniset "$KARBOR_GO_CONF" clients_keystone auth_uri "$auth_url"
    iniset "$KARBOR_GO_CONF" trustee auth_type password
    iniset "$KARBOR_GO_CONF" trustee auth_url "$auth_url"
    iniset "$KARBOR_GO_CONF" trustee username karbor
    iniset "$KARBOR_GO_CONF" trustee password "$SERVICE_PASSWORD"
    iniset "$KARBOR_GO_CONF" trustee user_domain_id default
    configure_keystone_authtoken_middleware "$KARBOR_GO_CONF" karbor

    configure_karbor_go_providers "$auth_url"
}

# Provider files that are there already are the operator's, or those of Karbor's own plugin.
function configure_karbor_go_providers {
    local auth_url=$1 dir=$KARBOR_GO_CONF_DIR/providers.d file
    for file in "$KARBOR_GO_DIR"/etc/providers.d/*.conf "$KARBOR_GO_DIR"/devstack/providers.d/*.conf; do
        [[ ! -e $dir/${file##*/} ]] || continue
        install -m 640 "$file" "$dir/"
        file=$dir/${file##*/}
        if grep -q '^\[file_system_bank_plugin]' "$file"; then
            iniset "$file" provider enabled True
            iniset "$file" file_system_bank_plugin file_system_bank_path "$KARBOR_GO_BANK_DIR"
        fi
        if grep -q '^\[swift_client]' "$file" && is_service_enabled s-proxy; then
            iniset "$file" provider enabled True
            iniset "$file" swift_client swift_auth_url "$auth_url/v3"
            iniset "$file" swift_client swift_user karbor
            iniset "$file" swift_client swift_key "$SERVICE_PASSWORD"
            iniset "$file" swift_client swift_tenant_name "$SERVICE_PROJECT_NAME"
        fi
    done
}

# User and database exist when Karbor's own plugin is enabled; asking twice does no harm.
function init_karbor_go {
    create_service_user karbor admin
    # The section [trustee] names no project, since a trust is added to it: the user's own is taken.
    openstack user set --domain default --project "$SERVICE_PROJECT_NAME" --project-domain default karbor
    is_service_enabled karbor-api || recreate_database karbor
    "$KARBOR_GO_PROGRAM" --config-file "$KARBOR_GO_CONF" --db-sync
}

if is_service_enabled karbor-protection-go; then
    case "${1:-} ${2:-}" in
        'stack install')
            echo_summary 'Building karbor-protection (Go)'
            install_karbor_go
            ;;
        'stack post-config')
            echo_summary 'Configuring karbor-protection (Go)'
            configure_karbor_go
            ;;
        'stack extra')
            echo_summary 'Starting karbor-protection (Go)'
            init_karbor_go
            run_process karbor-protection-go "$KARBOR_GO_PROGRAM --config-file $KARBOR_GO_CONF"
            ;;
        'unstack '*)
            stop_process karbor-protection-go
            ;;
        'clean '*)
            sudo rm -f "$KARBOR_GO_PROGRAM" "$KARBOR_GO_BIN_DIR/karborctl"
            sudo rm -rf "$KARBOR_GO_STATE_DIR"
            make -C "$KARBOR_GO_DIR" clean
            ;;
    esac
fi

$_KARBOR_GO_XTRACE
