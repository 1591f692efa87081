// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"
)

const maxHostName = 253 // RFC 1035, as oslo_config/types.py Hostname

var (
	hostLabel  = regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`)
	notNumeric = regexp.MustCompile(`[A-Za-z-]`)
)

// parseHost accepts an address without zone or a host name whose last label
// holds more than digits, so that a mistyped address is refused. One dot at
// the end of a name is dropped (types.py HostAddress).
func parseHost(text string) (any, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		return text, nil
	}
	wrong := errors.New("want an IP address or a host name")
	if text == "" || utf8.RuneCountInString(text) > maxHostName {
		return nil, wrong
	}
	name := strings.TrimSuffix(text, ".")
	labels := strings.Split(name, ".")
	if !notNumeric.MatchString(labels[len(labels)-1]) {
		return nil, wrong
	}
	for _, label := range labels {
		if !hostLabel.MatchString(label) || label[0] == '-' || label[len(label)-1] == '-' {
			return nil, wrong
		}
	}
	return name, nil
}
