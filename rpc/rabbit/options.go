// SPDX-License-Identifier: Apache-2.0

package rabbit

// Options are the options of the group [oslo_messaging_rabbit]. The field of an
// option carries its name in Go's spelling; OptionSpecs documents each. The zero value
// means the defaults. To change some, begin with DefaultOptions: among options of
// which any is set, a zero is a value, except where only the default makes sense.
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

// DefaultOptions are the defaults of oslo.messaging 18.1.0.
func DefaultOptions() Options {
	var o Options
	for i := range table {
		// The table's own defaults always parse.
		_ = table[i].set(&o, table[i].defaultText())
	}
	return o
}

// OptionSpecs is the table of all options, in the order of the documentation.
func OptionSpecs() []OptionSpec {
	specs := make([]OptionSpec, len(table))
	for i := range table {
		specs[i] = table[i].OptionSpec
	}
	return specs
}
