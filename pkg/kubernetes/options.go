// SPDX-License-Identifier: Apache-2.0

package kubernetes

import "github.com/karbor-project/karbor/pkg/config"

const group = "k8s_client"

// Options are read from karbor.conf. karbor: services/protection/clients/k8s.py
var Options = []config.Option{
	{Group: group, Name: "k8s_host", Help: "URL of the Kubernetes API server, with scheme and port."},
	{Group: group, Name: "k8s_ssl_ca_cert", Help: "CA bundle to verify the Kubernetes API server with."},
	{Group: group, Name: "k8s_cert_file", Help: "Client certificate for the Kubernetes API server."},
	{Group: group, Name: "k8s_key_file", Help: "Key of the client certificate."},
	{Group: group, Name: "kubeconfig", Help: "A kubeconfig file, whose current context is used, in place of the options above: for clusters that ask for a token or a program."},
}

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	return Config{
		Host:     cfg.String(group, "k8s_host"),
		CAFile:   cfg.String(group, "k8s_ssl_ca_cert"),
		CertFile: cfg.String(group, "k8s_cert_file"),
		KeyFile:  cfg.String(group, "k8s_key_file"),

		Kubeconfig: cfg.String(group, "kubeconfig"),
	}
}
