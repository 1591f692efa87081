// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

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

// withQuery overrides options with those of a transport URL.
func (o Options) withQuery(query url.Values) (Options, error) {
	for name, values := range query {
		if err := o.Set(name, strings.Join(values, ",")); err != nil {
			return o, fmt.Errorf("transport URL: %w", err)
		}
	}
	return o, nil
}

// withDefaults gives the zero value the defaults, and each field its own whose zero is
// no value of the option.
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

// checkRanges reports a number that the option does not take.
func (o *Options) checkRanges() error {
	for i := range table {
		if err := table[i].checkValue(o); err != nil {
			return fmt.Errorf("option %s of [oslo_messaging_rabbit]: %w", table[i].Name, err)
		}
	}
	return nil
}

// check reports combinations that no broker could satisfy.
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

// takesZero reports whether the zero of its type is a value of the option that means
// something of its own.
func (e *entry) takesZero() bool {
	switch {
	case e.integer != nil || e.float != nil:
		return e.inRange(0) == nil
	case e.text != nil:
		return e.Default == ""
	}
	return true
}

// setDefault replaces a zero.
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
