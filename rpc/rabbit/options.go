// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Options are the options of the group [oslo_messaging_rabbit]. Each field carries the
// name of its option in Go's spelling; OptionSpecs documents them. The zero Options mean
// the defaults. To change some, begin with DefaultOptions: once any option is set, a zero
// counts as a value, except in an option for which zero makes no sense.
type Options struct {
	DurableQueues          bool
	AutoDelete             bool
	QuorumQueue            bool
	TransientQuorumQueue   bool
	QuorumDeliveryLimit    int
	QuorumMaxMemoryLength  int
	QuorumMaxMemoryBytes   int
	HAQueues               bool
	StreamFanout           bool
	TransientQueuesTTL     int // seconds
	UseQueueManager        bool
	Hostname               string
	ProcessName            string
	PrefetchCount          int
	CancelOnFailover       bool
	DirectMandatory        bool
	HeartbeatThreshold     int // seconds
	HeartbeatRate          int
	HeartbeatInPthread     bool
	ReconnectDelay         float64 // seconds
	ReconnectSplay         float64 // seconds
	MissingConsumerTimeout int     // seconds
	FailoverStrategy       string
	Compression            string
	LoginMethod            string
	RetryInterval          int // seconds
	RetryBackoff           int // seconds
	IntervalMax            int // seconds
	ConnPoolSize           int
	ConnPoolMinSize        int
	ConnPoolTTL            int // seconds
	SSL                    bool
	SSLCAFile              string
	SSLCertFile            string
	SSLKeyFile             string
	SSLVersion             string
	SSLVerifyHostname      bool
	SSLFIPSMode            bool

	// DirectReplyExchange additionally declares the exchange through which servers of
	// oslo.messaging before 9.2.0 (2018) send their replies. oslo.messaging has no
	// such option, so it has no name in the table either.
	DirectReplyExchange bool
}

// OptionSpec describes one option for a configuration system.
type OptionSpec struct {
	Name string
	// Kind is "bool", "int", "float" or "string".
	Kind    string
	Default any
	Help    string
	// Min and Max bound numbers; nil means unbounded.
	Min, Max *float64
	// Choices are the allowed strings, matched without regard to case; nil means any.
	Choices []string
	// Deprecated are older places of the option, "group/name".
	Deprecated []string
}

// DefaultOptions returns the defaults of oslo.messaging 18.1.0.
func DefaultOptions() Options {
	var o Options
	for i := range table {
		// The table's own defaults always parse.
		_ = table[i].set(&o, table[i].defaultText())
	}
	return o
}

// OptionSpecs returns the table of all options, in the order of the documentation.
func OptionSpecs() []OptionSpec {
	specs := make([]OptionSpec, len(table))
	for i := range table {
		specs[i] = table[i].OptionSpec
	}
	return specs
}

// connectAttempts paces the attempts to connect.
func (o *Options) connectAttempts() *attempts {
	first := time.Duration(o.RetryInterval) * time.Second
	return &attempts{
		first:  first,
		step:   time.Duration(o.RetryBackoff) * time.Second,
		limit:  first + time.Duration(o.IntervalMax)*time.Second,
		jitter: rand.Float64,
	}
}

// reconnectDelay returns the pause after the loss of a connection.
func (o *Options) reconnectDelay() time.Duration {
	seconds := o.ReconnectDelay*(1-rand.Float64()/4) + o.ReconnectSplay*rand.Float64()
	return time.Duration(seconds * float64(time.Second))
}

// prefetch returns the option, or bounds that depend on the server's concurrency.
func (o *Options) prefetch(concurrency int) prefetch {
	if o.PrefetchCount > 0 {
		return prefetch{o.PrefetchCount, o.PrefetchCount}
	}
	most := max(concurrency, 1)
	return prefetch{min(leastPrefetch, most), most}
}

// Set gives the option of that name a value in the text form of a configuration
// file or of a transport URL. Deprecated names work too.
func (o *Options) Set(name, value string) error {
	e := lookup(name)
	if e == nil {
		return fmt.Errorf("no such option %s in group [oslo_messaging_rabbit]", name)
	}
	if err := e.set(o, value); err != nil {
		return fmt.Errorf("option %s of [oslo_messaging_rabbit]: %w", e.Name, err)
	}
	return nil
}

// withQuery overrides options with the query of a transport URL.
func (o Options) withQuery(query url.Values) (Options, error) {
	for name, values := range query {
		if err := o.Set(name, strings.Join(values, ",")); err != nil {
			return o, fmt.Errorf("transport URL: %w", err)
		}
	}
	return o, nil
}

// withDefaults gives the defaults to the zero Options, and to each field whose option
// does not take zero.
func (o Options) withDefaults() Options {
	if o == (Options{}) {
		return DefaultOptions()
	}
	for i := range table {
		if e := &table[i]; !e.takesZero() {
			e.setDefault(&o)
		}
	}
	return o
}

// checkRanges returns an error for a value that its option does not take.
func (o *Options) checkRanges() error {
	for i := range table {
		if err := table[i].checkValue(o); err != nil {
			return fmt.Errorf("option %s of [oslo_messaging_rabbit]: %w", table[i].Name, err)
		}
	}
	return nil
}

// check returns an error for combinations that no broker could satisfy.
// oslo.messaging: impl_rabbit.py Connection.__init__
func (o *Options) check() error {
	if o.QuorumQueue && o.HAQueues {
		return fmt.Errorf("rabbit_quorum_queue and rabbit_ha_queues exclude each other")
	}
	if o.StreamFanout && (o.PrefetchCount <= 0 || !o.TransientQuorumQueue) {
		return fmt.Errorf("rabbit_stream_fanout needs rabbit_qos_prefetch_count > 0 and rabbit_transient_quorum_queue")
	}
	return nil
}

func lookup(name string) *entry {
	for i := range table {
		e := &table[i]
		if e.Name == name {
			return e
		}
		for _, old := range e.Deprecated {
			if group, oldName, _ := strings.Cut(old, "/"); oldName == name && group == "oslo_messaging_rabbit" {
				return e
			}
		}
	}
	return nil
}

// entry binds an option's description to its field.
type entry struct {
	OptionSpec
	boolean func(*Options) *bool
	integer func(*Options) *int
	float   func(*Options) *float64
	text    func(*Options) *string
}

func (e *entry) defaultText() string { return fmt.Sprint(e.Default) }

// takesZero reports whether zero is a value of the option.
func (e *entry) takesZero() bool {
	switch {
	case e.integer != nil || e.float != nil:
		return e.inRange(0) == nil
	case e.text != nil:
		return e.Default == ""
	}
	return true
}

// setDefault replaces a zero by the default.
func (e *entry) setDefault(o *Options) {
	switch {
	case e.integer != nil && *e.integer(o) == 0:
		*e.integer(o), _ = e.Default.(int)
	case e.float != nil && *e.float(o) == 0:
		*e.float(o), _ = e.Default.(float64)
	case e.text != nil && *e.text(o) == "":
		*e.text(o), _ = e.Default.(string)
	}
}

func (e *entry) checkValue(o *Options) error {
	switch {
	case e.integer != nil:
		return e.inRange(float64(*e.integer(o)))
	case e.float != nil:
		return e.inRange(*e.float(o))
	case e.text != nil:
		return e.setText(o, *e.text(o))
	}
	return nil
}

func (e *entry) set(o *Options, value string) error {
	value = strings.TrimSpace(value)
	switch {
	case e.boolean != nil:
		b, err := parseBool(value)
		if err != nil {
			return err
		}
		*e.boolean(o) = b
	case e.integer != nil:
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not an integer", value)
		}
		if err := e.inRange(float64(n)); err != nil {
			return err
		}
		*e.integer(o) = n
	case e.float != nil:
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", value)
		}
		if err := e.inRange(f); err != nil {
			return err
		}
		*e.float(o) = f
	default:
		return e.setText(o, value)
	}
	return nil
}

func (e *entry) setText(o *Options, value string) error {
	if e.Choices == nil {
		*e.text(o) = value
		return nil
	}
	for _, c := range e.Choices {
		if strings.EqualFold(c, value) {
			*e.text(o) = c
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", value, strings.Join(e.Choices, ", "))
}

func (e *entry) inRange(v float64) error {
	if e.Min != nil && v < *e.Min {
		return fmt.Errorf("%v is less than %v", v, *e.Min)
	}
	if e.Max != nil && v > *e.Max {
		return fmt.Errorf("%v is more than %v", v, *e.Max)
	}
	return nil
}

// parseBool accepts oslo.config's words.
// oslo.config: types.py Boolean
func parseBool(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "true", "yes", "on":
		return true, nil
	case "0", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a boolean", value)
}

const group = "oslo_messaging_rabbit/"

func bound(v float64) *float64 { return &v }

func boolOption(name string, value bool, help string, field func(*Options) *bool, deprecated ...string) entry {
	return entry{OptionSpec: OptionSpec{Name: name, Kind: "bool", Default: value, Help: help, Deprecated: deprecated}, boolean: field}
}

func intOption(name string, value, low int, help string, field func(*Options) *int, deprecated ...string) entry {
	return entry{OptionSpec: OptionSpec{
		Name: name, Kind: "int", Default: value, Help: help, Min: bound(float64(low)), Deprecated: deprecated,
	}, integer: field}
}

func floatOption(name string, value, high float64, help string, field func(*Options) *float64, deprecated ...string) entry {
	return entry{OptionSpec: OptionSpec{
		Name: name, Kind: "float", Default: value, Help: help, Min: bound(0), Max: bound(high), Deprecated: deprecated,
	}, float: field}
}

func textOption(name, value, help string, choices []string, field func(*Options) *string, deprecated ...string) entry {
	return entry{OptionSpec: OptionSpec{
		Name: name, Kind: "string", Default: value, Help: help, Choices: choices, Deprecated: deprecated,
	}, text: field}
}

func localHostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// table lists all options: names, defaults, bounds and older names.
// oslo.messaging: impl_rabbit.py, amqp.py, pool.py
var table = []entry{
	boolOption("amqp_durable_queues", false, "Declare the exchange and the topic queues durable. Must equal the setting of the peers on the same topic.",
		func(o *Options) *bool { return &o.DurableQueues }),
	boolOption("amqp_auto_delete", false, "Let the broker delete the exchange and the topic queues with their last user. Must equal the setting of the peers.",
		func(o *Options) *bool { return &o.AutoDelete }, "DEFAULT/amqp_auto_delete"),
	boolOption("rabbit_quorum_queue", false, "Declare the topic queues as quorum queues, which implies durable ones. Must equal the setting of the peers.",
		func(o *Options) *bool { return &o.QuorumQueue }),
	boolOption("rabbit_transient_quorum_queue", false, "Declare reply and fanout queues as durable quorum queues. RabbitMQ 4.3 and later need this.",
		func(o *Options) *bool { return &o.TransientQuorumQueue }),
	intOption("rabbit_quorum_delivery_limit", 0, 0, "How often a quorum queue redelivers a message before it drops it; 0 leaves that to the broker.",
		func(o *Options) *int { return &o.QuorumDeliveryLimit }),
	intOption("rabbit_quorum_max_memory_length", 0, 0, "How many messages of a quorum queue stay in memory; 0 leaves that to the broker.",
		func(o *Options) *int { return &o.QuorumMaxMemoryLength }, group+"rabbit_quroum_max_memory_length"),
	intOption("rabbit_quorum_max_memory_bytes", 0, 0, "How many bytes of a quorum queue stay in memory; 0 leaves that to the broker.",
		func(o *Options) *int { return &o.QuorumMaxMemoryBytes }, group+"rabbit_quroum_max_memory_bytes"),
	boolOption("rabbit_ha_queues", false, "Declare queues with x-ha-policy: all. RabbitMQ 3.0 and later ignore it, but compare it.",
		func(o *Options) *bool { return &o.HAQueues }, "DEFAULT/rabbit_ha_queues"),
	boolOption("rabbit_stream_fanout", false, "Use one shared stream for the fanouts of a topic. Needs rabbit_qos_prefetch_count and rabbit_transient_quorum_queue.",
		func(o *Options) *bool { return &o.StreamFanout }),
	intOption("rabbit_transient_queues_ttl", 1800, 0, "Seconds after which the broker deletes unused reply and fanout queues, or the age of a fanout stream's messages; 0 means never.",
		func(o *Options) *int { return &o.TransientQueuesTTL }),
	boolOption("use_queue_manager", false, "Name reply and fanout queues after host and process instead of at random, and keep the fanout queue at the end.",
		func(o *Options) *bool { return &o.UseQueueManager }),
	textOption("hostname", localHostname(), "Host name in the queue names of use_queue_manager.", nil,
		func(o *Options) *string { return &o.Hostname }),
	textOption("processname", filepath.Base(os.Args[0]), "Process name in the queue names of use_queue_manager.", nil,
		func(o *Options) *string { return &o.ProcessName }),
	intOption("rabbit_qos_prefetch_count", 0, 0, "How many unacknowledged messages the broker sends ahead to each consumer; 0 means 8, and more while that many are in work, up to the number of workers.",
		func(o *Options) *int { return &o.PrefetchCount }),
	boolOption("enable_cancel_on_failover", false, "Ask the broker to cancel consumers when a mirrored queue fails over.",
		func(o *Options) *bool { return &o.CancelOnFailover }),
	boolOption("direct_mandatory_flag", true, "Send replies as mandatory, to notice that a caller's reply queue is missing.",
		func(o *Options) *bool { return &o.DirectMandatory }),
	intOption("heartbeat_timeout_threshold", 60, 0, "Seconds of the AMQP heartbeat that is offered to the broker; 0 switches it off.",
		func(o *Options) *int { return &o.HeartbeatThreshold }),
	intOption("heartbeat_rate", 3, 1, "Accepted for compatibility: this client checks heartbeats by itself.",
		func(o *Options) *int { return &o.HeartbeatRate }),
	boolOption("heartbeat_in_pthread", false, "Accepted for compatibility: heartbeats never wait for the service's work.",
		func(o *Options) *bool { return &o.HeartbeatInPthread }),
	floatOption("kombu_reconnect_delay", 1.0, 4.5, "Seconds to wait before reconnecting after the loss of a connection.",
		func(o *Options) *float64 { return &o.ReconnectDelay }, "DEFAULT/kombu_reconnect_delay"),
	floatOption("kombu_reconnect_splay", 0.0, 3600, "Up to that many random seconds more before reconnecting.",
		func(o *Options) *float64 { return &o.ReconnectSplay }),
	intOption("kombu_missing_consumer_retry_timeout", 60, 0, "Seconds for which a reply is tried again while the caller's queue is missing.",
		func(o *Options) *int { return &o.MissingConsumerTimeout }, group+"kombu_reconnect_timeout"),
	textOption("kombu_failover_strategy", "round-robin", "Order in which hosts are tried after a failure.", []string{"round-robin", "shuffle"},
		func(o *Options) *string { return &o.FailoverStrategy }),
	textOption("kombu_compression", "", "Compress the bodies of sent messages: empty or gzip. Bodies in gzip and bzip2 are always understood.", []string{"", "gzip"},
		func(o *Options) *string { return &o.Compression }),
	textOption("rabbit_login_method", "AMQPLAIN", "SASL mechanism of the login.", []string{"PLAIN", "AMQPLAIN", "EXTERNAL"},
		func(o *Options) *string { return &o.LoginMethod }, "DEFAULT/rabbit_login_method"),
	intOption("rabbit_retry_interval", 1, 1, "Seconds before the second attempt to connect.",
		func(o *Options) *int { return &o.RetryInterval }),
	intOption("rabbit_retry_backoff", 2, 0, "Seconds by which the pause grows with each attempt to connect.",
		func(o *Options) *int { return &o.RetryBackoff }, "DEFAULT/rabbit_retry_backoff"),
	intOption("rabbit_interval_max", 30, 1, "Seconds by which the pause between attempts to connect may grow.",
		func(o *Options) *int { return &o.IntervalMax }),
	intOption("rpc_conn_pool_size", 30, 1, "Accepted for compatibility: one connection carries everything that is sent.",
		func(o *Options) *int { return &o.ConnPoolSize }, "DEFAULT/rpc_conn_pool_size"),
	intOption("conn_pool_min_size", 2, 0, "Accepted for compatibility, see rpc_conn_pool_size.",
		func(o *Options) *int { return &o.ConnPoolMinSize }),
	intOption("conn_pool_ttl", 1200, 0, "Accepted for compatibility, see rpc_conn_pool_size.",
		func(o *Options) *int { return &o.ConnPoolTTL }),
	boolOption("ssl", false, "Connect with TLS. Without ssl_ca_file the broker is not verified.",
		func(o *Options) *bool { return &o.SSL }, group+"rabbit_use_ssl"),
	textOption("ssl_ca_file", "", "File with the certificates of the authorities that the broker's certificate must come from.", nil,
		func(o *Options) *string { return &o.SSLCAFile }, group+"kombu_ssl_ca_certs"),
	textOption("ssl_cert_file", "", "File with the client's certificate.", nil,
		func(o *Options) *string { return &o.SSLCertFile }, group+"kombu_ssl_certfile"),
	textOption("ssl_key_file", "", "File with the client's private key.", nil,
		func(o *Options) *string { return &o.SSLKeyFile }, group+"kombu_ssl_keyfile"),
	textOption("ssl_version", "", "The one TLS version to use; empty or SSLv23 negotiates.", []string{"", "SSLv23", "TLSv1", "TLSv1_1", "TLSv1_2"},
		func(o *Options) *string { return &o.SSLVersion }, group+"kombu_ssl_version"),
	boolOption("ssl_enforce_hostname_verification", true, "Verify the name in the broker's certificate too, when ssl_ca_file is set.",
		func(o *Options) *bool { return &o.SSLVerifyHostname }),
	boolOption("ssl_enforce_fips_mode", false, "Accepted for compatibility: the Go toolchain decides about FIPS mode.",
		func(o *Options) *bool { return &o.SSLFIPSMode }),
}
