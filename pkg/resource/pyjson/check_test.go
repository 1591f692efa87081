// SPDX-License-Identifier: Apache-2.0

package pyjson_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	digits := func(n int) string { return strings.Repeat("9", n) }
	for name, c := range map[string]struct {
		text string
		fine bool
	}{
		"as many digits as may be": {digits(4300), true},
		"one digit more":           {digits(4301), false},
		"a negative one":           {`{"a": [-` + digits(4301) + `]}`, false},
		"of a fraction":            {"1." + digits(5000), false},
		"in a string":              {`"` + digits(5000) + `"`, true},
		"in a name":                {`{"\"` + digits(5000) + `": 1}`, true},
		"many numbers":             {`[` + strings.Repeat("12345, ", 5000) + `1]`, true},
		"as deep as may be":        {nested(100), true},
		"one level more":           {nested(101), false},
		"objects":                  {strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat(`}`, 101), false},
		"brackets in a string":     {`"` + nested(500) + `\""`, true},
		"side by side":             {`[` + strings.Repeat("[], ", 500) + `[]]`, true},
		"nothing":                  {"", true},
		"cut off":                  {`"\`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := pyjson.Check([]byte(c.text), pyjson.MaxDepth); c.fine != (err == nil) || err != nil && !errors.Is(err, pyjson.ErrUnreadable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"a": [1, "\"", -2.5e10]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := pyjson.Check(raw, pyjson.MaxDepth); err != nil && !errors.Is(err, pyjson.ErrUnreadable) {
			t.Errorf("got %v", err)
		}
	})
}
