// SPDX-License-Identifier: Apache-2.0

package messaging

import (
	"fmt"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// NewTransport creates the connection to the broker in transport_url of a section, without
// connecting yet. The configuration must have Options and DriverOptions.
func NewTransport(cfg *config.Config, group string, log logrus.FieldLogger) (*rabbit.Transport, error) {
	url, err := URL(cfg, group)
	if err != nil {
		return nil, err
	}
	options := rabbit.DefaultOptions()
	for _, spec := range rabbit.OptionSpecs() {
		if !cfg.IsSet(driverGroup, spec.Name) {
			continue
		}
		if err := options.Set(spec.Name, valueText(cfg, spec)); err != nil {
			return nil, fmt.Errorf("section [%s]: %w", driverGroup, err)
		}
	}
	transport, err := rabbit.New(url, options, log)
	if err != nil {
		return nil, fmt.Errorf("option transport_url in section [%s]: %w", group, err)
	}
	return transport, nil
}

// URL reads the option transport_url of a section.
func URL(cfg *config.Config, group string) (*rpc.TransportURL, error) {
	url, err := rpc.ParseTransportURL(cfg.String(group, "transport_url"))
	if err != nil {
		return nil, fmt.Errorf("option transport_url in section [%s]: %w", group, err)
	}
	return url, nil
}

func valueText(cfg *config.Config, spec rabbit.OptionSpec) string {
	switch spec.Kind {
	case "bool":
		return fmt.Sprint(cfg.Bool(driverGroup, spec.Name))
	case "int":
		return fmt.Sprint(cfg.Int(driverGroup, spec.Name))
	case "float":
		return fmt.Sprint(cfg.Float(driverGroup, spec.Name))
	}
	return cfg.String(driverGroup, spec.Name)
}
