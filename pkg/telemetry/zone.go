// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"time"
)

// localZone returns the time zone of the log: the variable TZ, if it is set, or else the
// machine's zone. Package time silently uses UTC for a TZ that names no file, such as
// the POSIX rule CET-1CEST,M3.5.0,M10.5.0/3.
func localZone(tz string, set bool) (*time.Location, []string) {
	name := strings.TrimPrefix(tz, ":")
	switch {
	case !set:
		return time.Local, nil
	case name == "":
		return time.UTC, nil
	}
	if strings.HasPrefix(name, "/") {
		if data, err := os.ReadFile(name); err == nil {
			if zone, err := time.LoadLocationFromTZData(name, data); err == nil {
				return zone, nil
			}
		}
	} else if zone, err := time.LoadLocation(name); err == nil {
		return zone, nil
	}
	if zone, ok := posixZone(name); ok {
		return zone, nil
	}
	return time.UTC, []string{fmt.Sprintf("variable TZ: %q is neither a time zone of this machine nor a rule of POSIX; times in the log are UTC", tz)}
}

// unknownZone is the abbreviation of a time that a rule does not cover.
const unknownZone = "-00"

// posixZone returns the time zone of a rule. Files of time zones end with such a rule, so
// package time can read it from a file that contains nothing else.
func posixZone(rule string) (*time.Location, bool) {
	if strings.ContainsAny(rule, "\n\x00") {
		return nil, false
	}
	header := func(transitions, types, chars uint32) []byte {
		h := append([]byte("TZif2"), make([]byte, 15)...)
		for _, n := range []uint32{0, 0, 0, transitions, types, chars} {
			h = binary.BigEndian.AppendUint32(h, n)
		}
		return h
	}
	data := append(header(0, 0, 0), header(1, 1, uint32(len(unknownZone)+1))...)
	begin := int64(-1) << 59 // before which nothing is known
	data = binary.BigEndian.AppendUint64(data, uint64(begin))
	data = append(data, 0)                // the first transition is to type 0
	data = append(data, 0, 0, 0, 0, 0, 0) // type 0: no offset, no summer time, the first abbreviation
	data = append(data, unknownZone+"\x00\n"+rule+"\n"...)
	zone, err := time.LoadLocationFromTZData(rule, data)
	if err != nil {
		return nil, false
	}
	for _, month := range []time.Month{time.January, time.July} {
		if name, _ := time.Date(2000, month, 1, 0, 0, 0, 0, time.UTC).In(zone).Zone(); name == unknownZone {
			return nil, false
		}
	}
	return zone, true
}
