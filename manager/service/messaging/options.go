// SPDX-License-Identifier: Apache-2.0

// Package messaging creates a transport from the options of karbor.conf about the message broker.
// The daemon and karborctl share it.
package messaging

import (
	"strings"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// DefaultTopic is the topic of the protection service.
// karbor: services/protection/rpcapi.py
const DefaultTopic = "karbor-protection"

const driverGroup = "oslo_messaging_rabbit"

// Options are the options in [DEFAULT] for the location of the broker and the served topic.
// karbor: manager.py; oslo.messaging: transport.py, rpc/client.py
func Options() []config.Option {
	return []config.Option{
		{Name: "protection_topic", Kind: config.String, Default: DefaultTopic,
			Help: "The topic to serve. karbor-api must use the same one."},
		{Name: "transport_url", Kind: config.String, Default: "rabbit://", Secret: true,
			Help: "The message broker: rabbit://user:password@host:port,user:password@host2:port/virtual_host?option=value. " +
				"Options of [oslo_messaging_rabbit] may follow the question mark."},
		{Name: "control_exchange", Kind: config.String, Default: rpc.DefaultExchange,
			Help: "The exchange of the topic."},
		{Name: "rpc_response_timeout", Kind: config.Int, Default: int(rpc.DefaultTimeout.Seconds()), Min: config.Bound(1),
			Help: "Seconds that a client waits for the answer to a call."},
	}
}

// samples are documented defaults for driver options whose real default depends on the process.
var samples = map[string]string{"hostname": "the machine's host name", "processname": "the program's name"}

// DriverOptions are the options of the driver, which does not know about our configuration files.
func DriverOptions() []config.Option {
	kinds := map[string]config.Kind{"bool": config.Bool, "int": config.Int, "float": config.Float, "string": config.String}
	var options []config.Option
	for _, spec := range rabbit.OptionSpecs() {
		o := config.Option{Group: driverGroup, Name: spec.Name, Kind: kinds[spec.Kind], Default: spec.Default, Sample: samples[spec.Name], Help: spec.Help,
			Choices: spec.Choices, Min: whole(spec.Min), Max: whole(spec.Max)}
		for _, old := range spec.Deprecated {
			o.Deprecated = append(o.Deprecated, deprecatedName(old))
		}
		options = append(options, o)
	}
	return options
}

// deprecatedName splits the driver's "group/name".
func deprecatedName(old string) config.Name {
	group, name, _ := strings.Cut(old, "/")
	return config.Name{Group: group, Name: name}
}

// whole converts a bound of the driver to one of the configuration, whose bounds are inclusive
// whole numbers. Other bounds are left to the driver, which checks every value again.
func whole(bound *float64) *int64 {
	if bound == nil || *bound != float64(int64(*bound)) {
		return nil
	}
	return config.Bound(int64(*bound))
}
