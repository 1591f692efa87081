// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"strings"
	"testing"
)

// The formats of one answer, and the columns, fields and members of it that are asked for.
func TestFormats(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	for command, want := range map[string]string{
		"provider list -f csv":                       "id,name,state,description\n",
		"provider list -f csv -c name":               "name\n",
		"provider list -f yaml -c id -c NAME":        "- id: ",
		"provider list -f json -c name -c id":        "[\n  {\n    \"name\": ",
		"provider show " + testProvider + " -f yaml": "bank: karbor-fs-bank-plugin\ndescription: ",
	} {
		if got := c.must(t, strings.Fields(command)...); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q in the beginning", command, got, want)
		}
	}
	for command, want := range map[string]string{
		"provider list -f xml":             "want table, json, yaml, csv or value",
		"provider list -f json -c nothing": `no member "nothing"; there are: bank, description, extended_info_schema, id, name, reason, state`,
	} {
		if got := c.run(t.Context(), strings.Fields(command)...); got.code != ExitUsage || !strings.Contains(got.err, want) {
			t.Errorf("%s: %+v, want %q", command, got, want)
		}
	}
}

// closed is an output that nobody reads.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// An answer that cannot be written is a failure, also one that the command tree prints.
func TestClosedOutput(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"version", "--version", "help"} {
		var errs strings.Builder
		app := New("1.2.3", strings.NewReader(""), closed{}, &errs, func(string) string { return "" })
		if code := app.Run(t.Context(), []string{command}); code != ExitFailed || !strings.Contains(errs.String(), "broken pipe") {
			t.Errorf("%s: exit code %d, %s", command, code, errs.String())
		}
	}
}
