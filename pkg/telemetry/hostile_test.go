// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// hostile moves a cursor, rings, sets a title, turns the writing direction and
// begins a line.
const hostile = "\x1b[2J\a\x1b]0;t\a\u009b31m\u202e\u2066\x7f\x9b\r\n\u2028\u20292026-01-01 00:00:00.000 1 CRITICAL karbor [-] forged"

// inAllPlaces logs a text wherever an entry can have one.
func inAllPlaces(t *testing.T, c LogConfig, text string) string {
	t.Helper()
	log, written := newLog(t, c)
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	about := &requestcontext.RequestContext{RequestID: text, GlobalRequestID: text, UserID: text, ProjectID: text, ProjectName: text,
		Extra: map[string]json.RawMessage{}}
	for _, name := range []string{"domain", "domain_name", "user_domain", "project_domain", "system_scope", "user_name", "resource_uuid"} {
		about.Extra[name] = quoted
	}
	WithRequest(Named(log, text), about).WithField("name", text).WithError(errors.New(text)).Warn(text)
	return written()
}

func TestNoTextIsObeyedOrBeginsALine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]LogConfig{
		"default":        {},
		"all attributes": {ContextFormat: "%(" + strings.Join(ofRequest, ")s %(") + ")s %(name)s %(message)s %(error_summary)s"},
		"JSON":           {JSON: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := inAllPlaces(t, c, hostile)
			if !strings.Contains(text, "forged") || strings.Count(text, "\n") != 1 {
				t.Errorf("%d lines: %q", strings.Count(text, "\n"), text)
			}
			for _, r := range strings.TrimSuffix(text, "\n") {
				if !unicode.IsGraphic(r) {
					t.Fatalf("%U is in %q", r, text)
				}
			}
		})
	}
}

// A line has its bound, tells how much is missing, and an object stays one.
func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]LogConfig{"line": {}, "JSON": {JSON: true}} {
		for kind, text := range map[string]string{
			"long":      strings.Repeat("x", 2_600_000),
			"escaped":   strings.Repeat("\x1b", 1<<16),
			"two bytes": strings.Repeat("\u202e", 1<<16),
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				line := strings.TrimSuffix(inAllPlaces(t, c, text), "\n")
				if len(line) > longestLine || !strings.Contains(line, " more bytes)") {
					t.Errorf("%d bytes: %.100q", len(line), line)
				}
				if c.JSON && !json.Valid([]byte(line)) {
					t.Errorf("%q is no object", line)
				}
			})
		}
	}
}
