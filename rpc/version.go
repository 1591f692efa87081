// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"fmt"
	"strconv"
	"strings"
)

// compatible reports whether an implementation of version i serves requests of
// version r: same major, r no newer in minor and, at equal minor, in revision.
// oslo.messaging: oslo_messaging/_utils.py version_is_compatible
func compatible(i, r string) (bool, error) {
	implemented, err := parseVersion(i)
	if err != nil {
		return false, err
	}
	requested, err := parseVersion(r)
	if err != nil {
		return false, err
	}
	return implemented.serves(requested), nil
}

// version is major, minor and an optional revision.
type version [3]int

func (v version) serves(r version) bool {
	if r[0] != v[0] || r[1] > v[1] {
		return false
	}
	return r[1] < v[1] || r[2] <= v[2]
}

// parseVersion reads "M.m" or "M.m.r"; parts after the third are ignored.
func parseVersion(text string) (version, error) {
	var v version
	rest, more := text, true
	for i := 0; more && i < len(v); i++ {
		var part string
		part, rest, more = strings.Cut(rest, ".")
		n, err := strconv.Atoi(part)
		if err != nil {
			return version{}, fmt.Errorf("version %q: part %d is not a number", text, i+1)
		}
		v[i] = n
		if i == 0 && !more {
			return version{}, fmt.Errorf("version %q is not of the form major.minor", text)
		}
	}
	return v, nil
}
