#!/bin/bash
# Runs the checks of the project, each in an environment that installs and starts what it needs.
# See usage() below, or: ./tox-like-test.sh -h
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
WORK=$PWD/.tox-like
STATICCHECK=honnef.co/go/tools/cmd/staticcheck@v0.8.2
DEADCODE=golang.org/x/tools/cmd/deadcode@v0.51.0
GOSEC=github.com/securego/gosec/v2/cmd/gosec@v2.30.0
DEFAULT=lint,arch,unit,rpc,interop,functional
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"   # versions are stamped by the Makefile; a foreign checkout must build too

ENVIRONMENTS=(
  'quick|formatting, vet, staticcheck and short tests of the packages that differ from origin/main'
  'lint|gofmt, go vet, staticcheck, tidy go.mod, shellcheck, Python syntax'
  'static|gosec: what attackers look for in code; deadcode: functions that nothing calls; go vet for macOS (built the first time, minutes)'
  'arch|import rules between the packages'
  'unit|every package with -race -short; no services'
  'rpc|the RPC library against a real RabbitMQ'
  'rpc4|the same against RabbitMQ 4, of a newer Debian in a container (needs a Docker engine; root, where the image is not built yet)'
  'interop|Python peers (oslo.messaging) on both sides of a real RabbitMQ, with and without TLS'
  'functional|RabbitMQ, MariaDB, PostgreSQL, Keystone, Swift and Glance: the daemon, banks, database, providers'
  'openstack|Cinder, Neutron, Nova and Manila besides: what can be protected and how, and the service with all of it, in a whole cloud'
  'kubernetes|pods on a real kube-apiserver and volumes of Cinder; the server is built the first time (minutes, 3 GB of modules and cache)'
  'galera|a Galera cluster of two nodes, each with a worker that writes'
  'cluster|three RabbitMQ nodes in containers, killed and cut off under load (needs a Docker engine)'
  'cluster4|the same with RabbitMQ 4'
  'torture|a RabbitMQ that is restarted, killed and cut off under load'
  'soak|RPC servers and clients for SOAK_DURATION (20m) under random faults, repeated by SOAK_SEED; histories are compared'
  'chaos|workers killed at every failpoint, without database or bank from every failpoint on, killed KARBOR_TEST_KILLS times (200) at random moments of mixed loads, and restarted in turn'
  'hostile|what tenants, neighbours on the bus and files of strangers try: matrices in memory, and live workers'
  'fuzz|every fuzz target for FUZZTIME each (20s)'
  'cover|statement coverage with all services, merged, a line per package'
  'bench|Go benchmarks, then the comparison with Python peers'
  'bench-rpc|the RPC server beside a raw echo and oslo.messaging in Python, under one load'
  'page|the status page in headless Chromium; screenshots are in .tox-like/page'
  'prometheus|promtool: what the alerts fire on, and the expressions of the dashboard'
  'docs|generated files are fresh, links lead somewhere, every dependency is explained'
  'demo|what make demo shows'
)

usage() {
  cat <<EOF
usage: ./tox-like-test.sh [-l] [-r] [-k] [-e ENV[,ENV...]] [-- GO_TEST_ARGUMENT...]
  -e ENV   run these environments, in this order (default: $DEFAULT)
  -l       list the environments
  -r       recreate: forget the environments' logs, test cache and services' data first
  -k       keep the services running afterwards (tools/services/down stops them)
  --       what follows goes to go test, for example: -e rpc -- -run TestReconnect -v
Logs: .tox-like/ENV/log. Services' state: KARBOR_TEST_STATE (/var/tmp/karbor-test), ports from KARBOR_TEST_PORT_BASE (27000).
Packages are installed by apt-get as root; anybody else is told what is missing.
functional has its RabbitMQ in a container where a Docker engine answers (RABBITMQ_IMAGE chooses the image), else
Debian's own server; RABBIT_URL overrides both. docs/testing.md tells more.
EOF
}

fail() { echo "tox-like-test.sh: $*" >&2; exit 2; }
known() { printf '%s\n' "${ENVIRONMENTS[@]}" | cut -d'|' -f1 | grep -qxF -- "$1"; }

# --- what environments are made of

packages() { ( . tools/services/lib.sh; make_state; install_missing "$@" ); }
compiler() { command -v gcc >/dev/null || packages gcc libc6-dev; }   # -race needs cgo
services() {
  local found
  found=$(tools/services/up "$@" 8>&-)
  eval "$found"
}
without_services() {
  unset RABBIT_URL RABBITMQCTL RABBIT_CTL KARBOR_TEST_MYSQL KARBOR_TEST_POSTGRES KARBOR_TEST_KEYSTONE KARBOR_TEST_SWIFT KARBOR_TEST_GLANCE \
    KARBOR_TEST_CINDER KARBOR_TEST_VOLUMES KARBOR_TEST_NEUTRON KARBOR_TEST_NOVA KARBOR_TEST_MANILA KARBOR_TEST_SHARES \
    KARBOR_TEST_KUBERNETES KARBOR_TEST_CLUSTER KARBOR_TEST_RABBITMQ_SERVER KARBOR_TEST_DAEMONS KARBOR_TEST_BRIEF_LOGIN
}

# contained [-n NODES]: RABBIT_URL of a broker in a container, which ends with the environment; the way there is in
# the log container. With -k it stays, under the name tox, or tox-SUITE.
contained() {
  local name=tox-$$ found status=0 log=$WORK/$ENVIRONMENT/container
  [ -z "$KEEP" ] || name=tox${RABBITMQ_SUITE:+-$RABBITMQ_SUITE}
  # shellcheck disable=SC2064  # the name of now
  [ -n "$KEEP" ] || trap "timeout 60 tools/rabbitmq/down $name >/dev/null 2>&1 || true" EXIT
  # It has its time, an image to be built included, and no more.
  found=$(timeout "${CONTAINER_TIMEOUT:-420}" tools/rabbitmq/up "$@" "$name" 2>"$log" 8>&-) || status=$?
  [ "$status" != 124 ] || { echo "not ready after ${CONTAINER_TIMEOUT:-420} s" >>"$log"; tools/rabbitmq/down "$name" 2>/dev/null || true; }
  [ "$status" = 0 ] || return 1
  eval "$found"
  echo "RabbitMQ: $(sed 's/^[^ ]* //' "$log" | tail -n 1)"
}

# broker: RABBIT_URL, by whatever way there is
broker() {
  if [ -n "${RABBIT_URL:-}" ]; then
    echo 'RabbitMQ: the one of RABBIT_URL'
  elif ! contained; then
    echo "RabbitMQ: Debian's own server, not a container: $(sed 's/^[0-9:]* //' "$WORK/$ENVIRONMENT/container" | tail -n 1)"
    services rabbitmq
  fi
}

# newer_broker [-n NODES]: RABBIT_URL of RabbitMQ 4, which Debian has since trixie
newer_broker() {
  export RABBITMQ_SUITE=${RABBITMQ_SUITE:-trixie}
  contained "$@" || { echo "no RabbitMQ 4: $(tail -n 1 "$WORK/$ENVIRONMENT/container")"; exit 1; }
}

# for tests that start nodes of their own, with other settings
rabbitmq_server() { packages rabbitmq-server; export KARBOR_TEST_RABBITMQ_SERVER=/usr/lib/rabbitmq/bin/rabbitmq-server; }

# present PATTERN...: those of the go patterns whose folder exists
present() {
  local p
  for p in "$@"; do [ ! -d "${p%/...}" ] || printf '%s\n' "$p"; done
}

# go_test ARGUMENT...: go test with a readable report; the whole output is in the log beside it
go_test() {
  go build -o "$WORK/testreport" ./tools/testreport
  go test -json "$@" "${EXTRA[@]}" | "$WORK/testreport" -log "$WORK/$ENVIRONMENT/go-test.log" "${REPORT[@]}"
}
REPORT=()
# In environments that start the services, a test that skips for want of one hides a mistake. Those of a whole cloud are
# started by one environment only.
CLOUD_VARIABLES='KARBOR_TEST_(CINDER|VOLUMES|NEUTRON|NOVA|MANILA|SHARES)\b'
REQUIRED='RABBIT_URL|KARBOR_TEST_(CLUSTER|CLUSTER_NETWORK|GLANCE|KEYSTONE|MYSQL|POSTGRES|RABBITMQ_SERVER|SWIFT)\b'
service_tests() { REPORT=(-fail-skipped "$REQUIRED"); go_test -count=1 -timeout 30m "$@"; }

scripts() { # every shell script of the repository, by extension or first line
  { git ls-files -co --exclude-standard 2>/dev/null || find . -type f -not -path './.*'; } | while read -r f; do
    [ -f "$f" ] || continue
    case $f in
      *.sh) echo "$f" ;;
      *) head -c 64 "$f" | head -n 1 | grep -qaE '^#!.*\b(ba)?sh\b' && echo "$f" ;;
    esac || true
  done
}

# touched_packages: the packages with files that differ from the branch point, committed or not
touched_packages() {
  local base file folder
  base=$(git merge-base HEAD origin/main 2>/dev/null || echo HEAD)
  { git diff --name-only "$base"; git ls-files --others --exclude-standard; } | while read -r file; do
    folder=$(dirname "$file")
    until [ "$folder" = . ] || compgen -G "$folder/*.go" >/dev/null; do folder=$(dirname "$folder"); done
    [ "$folder" = . ] || echo "./$folder"
  done | sort -u | xargs -r go list -e -f '{{if not .Error}}{{.ImportPath}}{{end}}'   # examples are modules of their own
}

# importers PACKAGE...: the packages that import one of these directly, their tests included
importers() {
  go list -f '{{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... |
    awk 'BEGIN { for (i = 1; i < ARGC; i++) wanted[ARGV[i]]; ARGC = 1 }
      !($1 in wanted) { for (i = 2; i <= NF; i++) if ($i in wanted) { print $1; next } }' "$@"
}

env_quick() {
  local touched users status=0
  mapfile -t touched < <(touched_packages)
  [ ${#touched[@]} -gt 0 ] || { echo 'no package differs from origin/main'; return 0; }
  mapfile -t users < <(importers "${touched[@]}")
  printf '%s\n' "${touched[@]#*/*/*/}"
  go list -f '{{.Dir}}' "${touched[@]}" | xargs gofmt -l | grep . && { echo 'not formatted: gofmt -w'; status=1; }
  go vet "${touched[@]}" "${users[@]}" || status=1
  go run "$STATICCHECK" "${touched[@]}" || status=1
  without_services
  go_test -short -timeout 5m "${touched[@]}" || status=1
  return "$status"
}

env_lint() {
  local bad status=0
  packages shellcheck python3-minimal
  bad=$(gofmt -l .) || status=1
  [ -z "$bad" ] || { printf 'not formatted (gofmt -w):\n%s\n' "$bad"; status=1; }
  go mod tidy -diff >/dev/null || { echo 'go.mod is not tidy: go mod tidy'; status=1; }
  go vet ./... || status=1
  # the other half of the one pair of files that the tag chooses between
  go vet -tags nokubernetes ./manager/service ./cmd/karbor-protection || status=1
  go run "$STATICCHECK" ./... || status=1
  scripts | xargs -d '\n' shellcheck -x || status=1
  find . -name '*.py' -not -path './.*' -print0 |
    xargs -0 -r /usr/bin/python3 -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]' || status=1
  return "$status"
}

# What gosec finds and is meant so: rules, and rules in files. Anything new fails.
env_static() {
  local everywhere=(
    G104  # an error that is dropped: closing what was read, after another error; staticcheck and review see to the rest
    G304  # a file whose name is a variable: names are of the configuration, of the operator's command line, or made by the bank
  )
  local in_files=(
    '(bank|pkg|providers|rpc)/([a-z]+/)*[a-z]+test/([a-z]+/)*[a-z]+\.go:*'  # packages for tests: test/arch keeps them out of the programs
    'bank/swift/(download|transfer)\.go:G401,G501'   # Swift's Etag is MD5
    'providers/protection/imagedata/digest\.go:G501,G505'  # Glance's checksums
    '(bank/swift/session|cmd/karborctl/identity/credentials|pkg/openstack/transport|pkg/database/mysql|rpc/rabbit/tls)\.go:G402'  # options that operators set
    '(manager/janitor/janitor|manager/ownership/keeper|pkg/openstack/retry|providers/protection/poll/poll|rpc/rabbit/backoff|rpc/rabbit/names)\.go:G404'  # jitter
    'pkg/journal/sealer\.go:G407'                    # the cipher makes the nonce
    'pkg/resource/pyjson/pyjson\.go:G115'            # halves of a surrogate pair
    'pkg/telemetry/zone\.go:G115'                    # the bits of a negative number
    'pkg/workflow/graph\.go:G115'                    # tasks are counted before a graph is built
    'rpc/rabbit/(publish|subscription)\.go:G118'     # what outlives the caller on purpose
    'bank/filesystem/write\.go:G301'                 # the mode is the umask's to narrow
    'pkg/telemetry/file\.go:G302'                    # so is a log file's
    'pkg/fault/fault\.go:G602'                       # the length is checked above
  )
  local rules paths dead status=0
  GOOS=darwin CGO_ENABLED=0 go vet ./... || status=1   # developers have Macs; here, since it compiles all dependencies once more
  rules=$(IFS=,; echo "${everywhere[*]}")
  paths=$(IFS=';'; echo "${in_files[*]}")
  # shellcheck disable=SC2046  # patterns hold no spaces
  go run "$GOSEC" -quiet -exclude-generated -exclude="$rules" -exclude-rules="$paths" $(present ./bank/... ./cmd/... ./manager/... ./pkg/... ./providers/... ./rpc/...) || status=1
  # other programs use what rpc exports, and go vet compiles examples without output that nothing runs
  dead=$(go run "$DEADCODE" -test ./...) || status=1
  dead=$(grep -vE '^rpc/|example_test\.go:' <<<"$dead") || true
  [ -z "$dead" ] || { printf '%s\n' "$dead"; status=1; }
  return "$status"
}

env_arch() { go_test ./test/arch/...; }

env_unit() { compiler; without_services; go_test -race -short -timeout 30m ./...; }

# No other package of ./rpc needs a broker, so tests that stop or block it disturb nobody.
env_rpc() { compiler; services rabbitmq; RABBIT_CTL=${RABBITMQCTL:-} service_tests -race ./rpc/...; }

env_rpc4() {
  compiler
  newer_broker
  RABBIT_CTL=$RABBITMQCTL service_tests -race ./rpc/...
}

env_interop() {
  compiler
  packages python3-oslo.messaging python3-oslo.versionedobjects python3-oslo.context
  rabbitmq_server
  services rabbitmq
  service_tests -race ./test/interop/... ./test/golden/... ./test/tlsbroker/...
}

env_functional() {
  compiler
  broker
  services mariadb postgresql keystone swift glance
  # shellcheck disable=SC2046  # patterns hold no spaces
  service_tests $(present ./bank/... ./pkg/database/... ./pkg/journal/... ./pkg/openstack/... ./providers/... ./manager/... ./cmd/... ./test/functional/...)
}

env_openstack() {
  compiler
  services cinder neutron nova manila
  REQUIRED="$REQUIRED|$CLOUD_VARIABLES"
  service_tests -timeout 2h ./pkg/openstack/... ./providers/... ./test/openstack/...
  # These kill daemons, so nobody else may use them.
  KARBOR_TEST_DAEMONS=$PWD/tools/services service_tests -timeout 3h ./test/outage/...
}

env_kubernetes() {
  compiler
  services kubernetes cinder
  REQUIRED='KARBOR_TEST_(KUBERNETES|CINDER|VOLUMES)\b'
  (cd test/kubernetes && go vet ./...)
  service_tests -race -run 'Kubernetes|Conformance|RealCertificates|RealKubeconfig' ./pkg/kubernetes/... ./providers/protectable/builtin ./providers/protection/pod
  service_tests -run 'TestPod' ./test/openstack
}

env_galera() {
  compiler
  services galera
  REQUIRED='KARBOR_TEST_GALERA'
  service_tests -race -run 'TestTwoNodes' -count=5 ./pkg/journal
}

env_cluster() {
  compiler
  packages python3-oslo.messaging
  [ -n "${KARBOR_TEST_CLUSTER:-}" ] || contained -n 3 ||
    { echo "no cluster: $(tail -n 1 "$WORK/$ENVIRONMENT/container")"; return 1; }
  service_tests -race -v ./test/cluster/...
}

env_cluster4() {
  compiler
  packages python3-oslo.messaging
  newer_broker -n 3
  service_tests -race -v ./test/cluster/...
}

env_torture() {
  compiler
  rabbitmq_server
  service_tests -race -v ./test/torture/...
}

env_soak() {
  compiler
  packages python3-oslo.messaging
  rabbitmq_server
  # Histories and the output of all processes stay for reading.
  export SOAK_FOLDER=$WORK/soak/run
  rm -rf "$SOAK_FOLDER"
  export SOAK_SEED=${SOAK_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
  echo "SOAK_SEED=$SOAK_SEED SOAK_DURATION=${SOAK_DURATION:-20m}"
  REPORT=(-fail-skipped 'RABBIT_URL|KARBOR_TEST_')
  local status=0
  go_test -count=1 -timeout 0 -v ./test/soak/... || status=1
  # The report keeps what a test says that passes to itself: here it is the result.
  sed -n 's/^ *soak_test\.go:[0-9]*: //p' "$WORK/soak/go-test.log"
  return "$status"
}

env_chaos() {
  export KARBOR_TEST_KILLS=${KARBOR_TEST_KILLS:-200} KARBOR_TEST_FAILPOINTS=${KARBOR_TEST_FAILPOINTS:-all}
  broker
  services mariadb keystone swift glance
  service_tests -v -timeout 4h -run 'TestRandomKills|TestFailpoints|TestOutages|TestRollingRestart|TestRealSurvives' ./test/functional ./providers/protection/image
}

env_hostile() {
  compiler
  services rabbitmq mariadb keystone swift glance
  service_tests -v -run 'Hostile|Tenants|Unreadable|Redirect|StaysAtHome|IDsInPaths|CannotChangeTheEndpoint|PodsOfOthers|Within|Conformance/(Hostile|Survive)' \
    ./manager/... ./test/functional ./pkg/... ./bank/... ./providers/... ./cmd/karborctl/... ./rpc/...
}

env_fuzz() {
  local file target found=0
  while IFS=: read -r file target; do
    found=1
    echo "== $target in $(dirname "$file"), ${FUZZTIME:-20s}"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" "./$(dirname "$file")"
  done < <(grep -rEo --include='*_test.go' '^func Fuzz\w+' . | sed 's|^\./||; s/func //' | sort)
  [ "$found" = 1 ] || { echo 'no fuzz targets found'; return 1; }
}

env_cover() {
  compiler
  services rabbitmq mariadb postgresql keystone swift glance
  packages python3-oslo.messaging
  local profile=$WORK/cover/profile status=0
  go test -count=1 -timeout 30m -coverpkg=./... -coverprofile="$profile" ./... "${EXTRA[@]}" >"$WORK/cover/go-test.log" || status=1
  grep -E '^(--- FAIL|FAIL|panic:)' "$WORK/cover/go-test.log" || true
  # one profile holds a block once for each test binary that could have run it
  awk 'NR > 1 { split($1, at, ":"); file = at[1]; sub("/[^/]*$", "", file); key = $1
         statements[key] = $2; pkg[key] = file; if ($3 > 0) hit[key] = 1 }
       END { for (k in statements) { all[pkg[k]] += statements[k]; total += statements[k]
               if (k in hit) { covered[pkg[k]] += statements[k]; sum += statements[k] } }
             for (p in all) printf "%6.1f%%  %6d  %s\n", 100 * covered[p] / all[p], all[p], p | "sort -k3"
             close("sort -k3"); printf "%6.1f%%  %6d  total\n", total ? 100 * sum / total : 0, total }' "$profile"
  go tool cover -html="$profile" -o "$WORK/cover/index.html"
  echo "line by line: .tox-like/cover/index.html"
  return "$status"
}

env_bench() {
  services rabbitmq mariadb
  packages python3-oslo.messaging python3-taskflow
  go test -run '^$' -bench . -benchmem ./... "${EXTRA[@]}" | grep -vE 'no test files|^(ok|goos:|goarch:|PASS)'
  [ ! -d test/bench ] || { make -s build; go run ./test/bench; }
}

env_bench-rpc() {
  services rabbitmq
  packages python3-oslo.messaging
  go test -run '^$' -bench 'Serve|Request|Reply' -benchmem ./rpc | grep '^Benchmark'
  make -s peers
  go run ./tools/rpccompare "${EXTRA[@]}"
}

env_page() {
  packages chromium
  export KARBOR_TEST_CHROMIUM=/usr/bin/chromium KARBOR_TEST_SCREENSHOTS=$WORK/page
  REPORT=(-fail-skipped 'KARBOR_TEST_CHROMIUM\b')
  go_test -count=1 ./manager/page
}

env_prometheus() {
  packages prometheus
  REPORT=(-fail-skipped 'promtool')
  go_test -count=1 ./test/prometheus
}

env_docs() { tools/docs/check; }

env_demo() { tools/demo/run; }

# --- running them

run_one() { # in a process of its own, so that -e holds inside
  KEEP=${TOX_KEEP:-}
  ENVIRONMENT=$1; shift
  EXTRA=("$@")
  "env_$ENVIRONMENT"
}

# The services are stopped by the run that started them, once no other run uses them: each holds a shared lock.
hold_services() {
  local state=${KARBOR_TEST_STATE:-/var/tmp/karbor-test}
  mkdir -p "$state/run" 2>/dev/null || return 0
  exec 8>"$state/run/users"
  flock -s 8
  (. tools/services/lib.sh; any_running) || : >"$state/run/started-by-tests"
  trap 'release_services "'"$state"'"' EXIT
}
release_services() {
  [ -z "$keep" ] && [ -e "$1/run/started-by-tests" ] && flock -n -x 8 || return 0
  rm -f "$1/run/started-by-tests"
  tools/services/down 8>&-
}

main() {
  local selected=$DEFAULT recreate='' name description status start failed=0 summary=()
  keep=''
  while getopts ':e:lrkh' option; do
    case $option in
      e) selected=$OPTARG ;;
      l) for name in "${ENVIRONMENTS[@]}"; do printf '%-11s %s\n' "${name%%|*}" "${name#*|}"; done; exit 0 ;;
      r) recreate=1 ;;
      k) keep=1 ;;
      h) usage; exit 0 ;;
      *) usage >&2; fail "unknown option or missing argument: -$OPTARG" ;;
    esac
  done
  shift $((OPTIND - 1))
  IFS=, read -ra names <<<"$selected"
  [ ${#names[@]} -gt 0 ] || fail '-e needs the name of an environment; -l lists them'
  for name in "${names[@]}"; do known "$name" || fail "unknown environment \"$name\"; -l lists them"; done
  command -v go >/dev/null || fail "Go is not in PATH; go.mod asks for $(sed -n 's/^go //p' go.mod) or newer"
  if [ -n "$recreate" ]; then
    tools/services/down --purge
    go clean -testcache
    for name in "${names[@]}"; do rm -rf "${WORK:?}/$name"; done
  fi
  hold_services
  for name in "${names[@]}"; do
    mkdir -p "$WORK/$name"
    description=$(printf '%s\n' "${ENVIRONMENTS[@]}" | sed -n "s/^$name|//p")
    printf '\n=== %s: %s\n' "$name" "$description"
    start=$SECONDS status=ok
    TOX_KEEP=$keep bash "$0" --inside "$name" "$@" 2>&1 | tee "$WORK/$name/log" || { status=FAILED; failed=1; }
    printf '=== %s: %s after %d s\n' "$name" "$status" $((SECONDS - start))
    summary+=("$(printf '%-11s %-7s %5d s   %s' "$name" "$status" $((SECONDS - start)) ".tox-like/$name/log")")
  done
  printf '\n%-11s %-7s %7s   %s\n' environment result time log
  printf '%s\n' "${summary[@]}"
  return "$failed"
}

if [ "${1:-}" = --inside ]; then
  shift
  run_one "$@"
else
  main "$@"
fi
