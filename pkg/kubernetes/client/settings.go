// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// timeout bounds a call with all its attempts, and so also the delay that an API server
// can ask for.
const timeout = time.Minute

// newScheme registers the kinds that are decoded or sent as Go types. Pods are not
// among them, because they are kept as raw text.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(core.SchemeGroupVersion, &core.PersistentVolumeClaim{}, &core.PersistentVolume{})
	meta.AddToGroupVersion(scheme, core.SchemeGroupVersion) // Status, ListOptions, DeleteOptions
	return scheme
}

// settings are the address of the API server and the credentials. The library checks
// the files of the client certificate every few minutes, so that a renewed one is used
// without a restart.
func settings(cfg kubernetes.Config) (*rest.Config, error) {
	settings, err := server(cfg)
	if err != nil {
		return nil, err
	}
	scheme := newScheme()
	settings.APIPath = "/api"
	settings.GroupVersion = &core.SchemeGroupVersion
	settings.ContentType = runtime.ContentTypeJSON
	settings.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	settings.UserAgent = "karbor-protection"
	settings.Timeout = timeout
	settings.QPS = -1 // operations are bounded, and an API server defends itself
	settings.WarningHandler = rest.NoWarnings{}
	settings.Proxy = http.ProxyFromEnvironment // set, it gives each client a transport of its own
	return settings, nil
}

func server(cfg kubernetes.Config) (*rest.Config, error) {
	switch {
	case cfg.Kubeconfig != "" && cfg.Host != "":
		return nil, errors.New("k8s_host and kubeconfig are both configured: remove one of them")
	case cfg.Kubeconfig != "":
		settings, err := clientcmd.BuildConfigFromFlags("", cfg.Kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("reading kubeconfig: %w", err)
		}
		return settings, nil
	case cfg.Host == "":
		return nil, kubernetes.ErrNotConfigured
	}
	if err := check(cfg); err != nil {
		return nil, err
	}
	return &rest.Config{Host: cfg.Host, TLSClientConfig: rest.TLSClientConfig{CAFile: cfg.CAFile, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile}}, nil
}

// check reads the certificate files before the library does, because the library's
// errors do not name the option.
func check(cfg kubernetes.Config) error {
	if cfg.CAFile != "" {
		if _, err := cert.NewPool(cfg.CAFile); err != nil {
			return fmt.Errorf("reading k8s_ssl_ca_cert: %w", err)
		}
	}
	if cfg.CertFile != "" || cfg.KeyFile != "" {
		if _, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile); err != nil {
			return fmt.Errorf("reading k8s_cert_file and k8s_key_file: %w", err)
		}
	}
	return nil
}
