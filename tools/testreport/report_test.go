// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// events as "go test -json" writes them.
const (
	pass = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":1.25}
`
	fail = `{"Action":"output","Package":"q","Test":"TestB/sub","Output":"    b_test.go:7: wrong\n"}
{"Action":"fail","Package":"q","Test":"TestB/sub"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"fail","Package":"q","Elapsed":0.1}
`
	skip = `{"Action":"output","Package":"r","Test":"TestC","Output":"    c_test.go:9: RABBIT_URL is not set\n"}
{"Action":"output","Package":"r","Test":"TestC","Output":"--- SKIP: TestC (0.00s)\n"}
{"Action":"skip","Package":"r","Test":"TestC"}
{"Action":"pass","Package":"r","Elapsed":0.1}
`
	broken = `{"ImportPath":"s","Action":"build-output","Output":"s.go:1: undefined: x\n"}
{"ImportPath":"s","Action":"build-fail"}
{"Action":"output","Package":"s","Output":"FAIL\ts [build failed]\n"}
{"Action":"fail","Package":"s","Elapsed":0}
`
	panicked = `{"Action":"output","Package":"t","Test":"TestD","Output":"panic: boom\n"}
{"Action":"fail","Package":"t","Elapsed":0.1}
`
)

func TestRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events, forbidden string
		ok                bool
		want, not         []string
	}{
		"pass":           {events: pass, ok: true, want: []string{"ok    p  1.2s", "1 passed, 0 failed, 0 skipped"}, not: []string{"chatter"}},
		"fail":           {events: pass + fail, want: []string{"b_test.go:7: wrong", "FAIL  q", "1 passed, 1 failed, 0 skipped"}},
		"skip":           {events: skip, ok: true, want: []string{"skipped: TestC (0.00s)  c_test.go:9: RABBIT_URL is not set", "0 passed, 0 failed, 1 skipped"}},
		"forbidden skip": {events: skip, forbidden: "RABBIT_URL", want: []string{"must not skip here: r.TestC", "0 passed, 1 failed"}},
		"other skip":     {events: skip, forbidden: "KARBOR_", ok: true, want: []string{"0 passed, 0 failed, 1 skipped"}},
		"build":          {events: broken, want: []string{"s.go:1: undefined: x", "0 passed, 1 failed"}},
		"panic":          {events: panicked, want: []string{"panic: boom", "0 passed, 1 failed"}},
		"sums":           {events: pass + fail + skip + broken + panicked, want: []string{"1 passed, 3 failed, 1 skipped"}},
		"plain text":     {events: "go: no such package\n" + pass, ok: true, want: []string{"go: no such package"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			ok, err := run(strings.NewReader(c.events), &out, filepath.Join(t.TempDir(), "log"), c.forbidden)
			if err != nil {
				t.Fatal(err)
			}
			if ok != c.ok {
				t.Errorf("ok = %v, want %v", ok, c.ok)
			}
			for _, s := range c.want {
				if !strings.Contains(out.String(), s) {
					t.Errorf("the report lacks %q:\n%s", s, out.String())
				}
			}
			for _, s := range c.not {
				if strings.Contains(out.String(), s) {
					t.Errorf("the report should not have %q:\n%s", s, out.String())
				}
			}
		})
	}
}

func TestRunRejectsBadExpression(t *testing.T) {
	t.Parallel()
	if _, err := run(strings.NewReader(""), &strings.Builder{}, filepath.Join(t.TempDir(), "log"), "("); err == nil {
		t.Error("no error for an expression that does not compile")
	}
}
