# shellcheck shell=bash disable=SC2034,SC2154  # the variables are read by up and down, or set by ../services/lib.sh
# Kubernetes: its own kube-apiserver with an etcd in one process, built from their modules by test/kubernetes. No kubelet,
# scheduler or controllers. kubeconfig files of admin, karbor and stranger lie in var/kubernetes/pki.

kubernetes_packages=()
kubernetes_daemons=(kubernetes)
kubernetes_needs=()

kubernetes_start() {
  local data=$STATE/var/kubernetes
  kubernetes_build
  free_port kubernetes kubernetes
  if running kubernetes; then return; fi
  rm -rf "$data"   # a cluster of tests' namespaces is not worth keeping
  mkdir -m 700 "$data"
  daemon kubernetes "$STATE/bin/apiserver" -data "$data" -port "${PORT[kubernetes]}"
  wait_until kubernetes kubernetes_ready
}

# Minutes of compiling, so it is kept, and --purge spares it. What it was built of is beside it.
kubernetes_build() {
  local source=$HERE/../../test/kubernetes made=$STATE/bin/apiserver.made of
  of=$(cd "$source" && cat go.mod go.sum apiserver/*.go | sha256sum)
  [ "$(cat "$made" 2>/dev/null)" != "$of" ] || return 0
  local PATH=${CALLER_PATH:-$PATH}
  command -v go >/dev/null || die 'Go is not in PATH'
  say 'building kube-apiserver, which takes minutes'
  mkdir -p "$STATE/bin"
  (STEP_TIMEOUT=3600 && step kubernetes-build nice -n 15 go build -C "$source" -buildvcs=false -p 2 -ldflags '-s -w' -o "$STATE/bin/apiserver" ./apiserver)
  echo "$of" >"$made"
}

kubernetes_ready() {
  local pki=$STATE/var/kubernetes/pki
  [ "$(curl -s --max-time 5 --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" "https://127.0.0.1:${PORT[kubernetes]}/readyz")" = ok ]
}

kubernetes_variables() { echo "KARBOR_TEST_KUBERNETES=$STATE/var/kubernetes/pki"; }
