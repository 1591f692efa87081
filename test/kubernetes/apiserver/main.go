// SPDX-License-Identifier: Apache-2.0

// Command apiserver is Kubernetes' own kube-apiserver with an etcd in the same
// process, for tests: on loopback, with certificates that it makes, and all its
// data in one folder. There is no kubelet, no scheduler and no controller behind
// it: tests play them.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	data := flag.String("data", "", "folder of the data, the certificates and the kubeconfig files")
	port := flag.Int("port", 6443, "port of the API server; the next two are etcd's")
	flag.Parse()
	if err := run(*data, *port); err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		os.Exit(1)
	}
}

// run serves until a signal ends the API server, and etcd after it.
func run(data string, port int) error {
	if data == "" {
		return fmt.Errorf("-data is required")
	}
	address := fmt.Sprintf("https://%s:%d", loopback, port)
	files, err := issue(filepath.Join(data, "pki"), address)
	if err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	store, err := startEtcd(filepath.Join(data, "etcd"), port+1)
	if err != nil {
		return fmt.Errorf("starting etcd: %w", err)
	}
	defer store.Close()
	command := app.NewAPIServerCommand()
	command.SetArgs(arguments(files, port, endpoint(port+1)))
	return command.Execute() // in a context that signals end
}

// arguments are those of a small cluster: the usual admission, RBAC, tokens of
// service accounts. kubernetes: cmd/kube-apiserver --help
func arguments(f files, port int, etcd string) []string {
	return []string{
		"--bind-address=" + loopback,
		fmt.Sprintf("--secure-port=%d", port),
		"--etcd-servers=" + etcd,
		"--tls-cert-file=" + f.serving.certificate,
		"--tls-private-key-file=" + f.serving.key,
		"--client-ca-file=" + f.authority,
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + f.accounts,
		"--service-account-signing-key-file=" + f.accounts,
		"--service-cluster-ip-range=10.0.0.0/24",
		// Nothing answers at the address of the service "kubernetes" but this server itself.
		"--endpoint-reconciler-type=none",
	}
}
