// SPDX-License-Identifier: Apache-2.0

package pyjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, raw, want string }{
		{"spaces", "{\n\t\"a\":[1,2 , {}],\r\"b\" : null}", `{"a": [1, 2, {}], "b": null}`},
		{"key order", `{"b":1,"a":2}`, `{"b": 1, "a": 2}`},
		{"punctuation in strings", `"a,b:c \" d"`, `"a,b:c \" d"`},
		{"escapes", `"\/ \u0041 \u00E9 \u000a \u0008 \u000c \u007f \u0000 \u0022 \u005c"`, `"/ A \u00e9 \n \b \f \u007f \u0000 \" \\"`},
		{"beyond ASCII", "\"é\u2028\U0001F4BE\x7f\"", `"\u00e9\u2028\ud83d\udcbe\u007f"`},
		{"lone surrogate", `"\uD800x"`, `"\ud800x"`},
		{"integers", `[0,-0,12345678901234567890123]`, `[0, 0, 12345678901234567890123]`},
		{"floats", `[1.0,1e2,-0.0,1E16,9999999999999998.0,0.0001,0.00001,1e-7,5e-324,3.14]`, `[1.0, 100.0, -0.0, 1e+16, 9999999999999998.0, 0.0001, 1e-05, 1e-07, 5e-324, 3.14]`},
		{"words", `[true,false,null]`, `[true, false, null]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := pyjson.Append(nil, []byte(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "{", "1 2", "nul", `"a`} {
		got, err := pyjson.Append([]byte("x"), []byte(raw))
		if !errors.Is(err, pyjson.ErrInvalid) || string(got) != "x" {
			t.Errorf("%q gives %q, error %v", raw, got, err)
		}
	}
	if got, err := pyjson.Append(nil, nil); err != nil || string(got) != "null" {
		t.Errorf("nil gives %q, error %v", got, err)
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	if got := string(pyjson.AppendString(nil, "a\"\xff/")); got != `"a\"\ufffd/"` {
		t.Errorf("string is %s", got)
	}
}

// Python itself reads random values and writes them again.
func TestAgreesWithPython(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skipf("no Python to compare with: %v", err)
	}
	var raws [][]byte
	rapid.Check(t, func(t *rapid.T) {
		raw, err := json.Marshal(map[string]any{
			rapid.String().Draw(t, "key"): []any{
				rapid.Float64().Draw(t, "float"), rapid.Int64().Draw(t, "int"), rapid.String().Draw(t, "text"), nil, true,
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, raw)
	})
	cmd := exec.Command(python, "-c", "import json, sys\nfor line in sys.stdin.buffer: print(json.dumps(json.loads(line)))")
	cmd.Stdin = bytes.NewReader(append(bytes.Join(raws, []byte("\n")), '\n'))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(raws) {
		t.Fatalf("%d answers to %d values", len(lines), len(raws))
	}
	for i, want := range lines {
		got, err := pyjson.Append(nil, raws[i])
		if err != nil || string(got) != want {
			t.Errorf("%s gives %s (%v), Python %s", raws[i], got, err, want)
		}
	}
}

func FuzzAppend(f *testing.F) {
	f.Add([]byte(`{"a":[1.5,"\ud800\u0041é",-0]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, err := pyjson.Append(nil, raw)
		if err != nil {
			return
		}
		again, err := pyjson.Append(nil, text)
		if err != nil || !bytes.Equal(text, again) {
			t.Fatalf("%q gives %q, then %q (%v)", raw, text, again, err)
		}
	})
}
