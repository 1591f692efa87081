// SPDX-License-Identifier: Apache-2.0

package main

import (
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfig writes a file by which kubectl, too, gets to the API server.
func kubeconfig(path, address, authority string, own pair) error {
	const name = "karbor-test"
	config := api.NewConfig()
	config.Clusters[name] = &api.Cluster{Server: address, CertificateAuthority: authority}
	config.AuthInfos[name] = &api.AuthInfo{ClientCertificate: own.certificate, ClientKey: own.key}
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return clientcmd.WriteToFile(*config, path)
}
