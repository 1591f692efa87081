// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// event is one line of "go test -json" (go doc test2json); build events carry ImportPath instead of Package.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// report collects what is worth showing while events pass by.
type report struct {
	out       io.Writer
	log       io.Writer
	forbidden *regexp.Regexp // reasons for which a test must not skip
	output    map[string][]string
	parents   map[string]bool // tests that have subtests: they are not counted themselves

	failedIn map[string]bool // packages with a failed test

	passed, failed, skipped int
}

func newReport(out io.Writer) *report {
	return &report{out: out, log: io.Discard, output: map[string][]string{}, parents: map[string]bool{}, failedIn: map[string]bool{}}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" { // go itself speaking
		fmt.Fprintf(r.log, "%s", line)
		fmt.Fprintf(r.out, "%s", line)
		return
	}
	if e.Output != "" {
		fmt.Fprint(r.log, e.Output)
	}
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Action == "output":
		if strings.HasPrefix(e.Output, "=== ") { // RUN, PAUSE, CONT, NAME: of use in the log only
			return
		}
		r.output[e.key()] = append(r.output[e.key()], e.Output)
	case e.Test != "":
		r.test(e)
	default:
		r.pkg(e)
	}
}

func (e event) key() string { return e.Package + " " + e.Test }

// test handles the end of one test or subtest.
func (r *report) test(e event) {
	if e.Action != "pass" && e.Action != "fail" && e.Action != "skip" {
		return
	}
	if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
		r.parents[e.Package+" "+e.Test[:i]] = true
	}
	text := strings.Join(r.output[e.key()], "")
	delete(r.output, e.key())
	leaf := !r.parents[e.key()]
	switch {
	case e.Action == "skip" && r.forbidden != nil && r.forbidden.MatchString(text):
		r.failed++
		fmt.Fprintf(r.out, "    must not skip here: %s.%s\n%s", e.Package, e.Test, text)
	case e.Action == "skip":
		r.skipped++
		fmt.Fprintf(r.out, "    skipped: %s\n", reason(text))
	case e.Action == "fail":
		if leaf {
			r.failed++
			r.failedIn[e.Package] = true
		}
		fmt.Fprintf(r.out, "    %s\n%s", e.Package, text)
	case leaf:
		r.passed++
	}
}

// pkg handles the end of a package: its last line, and all of its output when it broke outside of a test.
func (r *report) pkg(e event) {
	text := r.output[e.key()]
	switch e.Action {
	case "pass", "skip":
		if e.Action == "pass" {
			fmt.Fprintf(r.out, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
		}
	case "fail":
		if !r.failedIn[e.Package] { // it did not build, or died outside of a test
			r.failed++
		}
		// a panic or a timeout ends the binary: what its unfinished tests had said belongs to the story
		for key, lines := range r.output {
			if strings.HasPrefix(key, e.Package+" ") && key != e.key() {
				fmt.Fprint(r.out, strings.Join(lines, ""))
			}
		}
		fmt.Fprint(r.out, strings.Join(text, ""))
		fmt.Fprintf(r.out, "FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
	default:
		return
	}
	for key := range r.output {
		if strings.HasPrefix(key, e.Package+" ") {
			delete(r.output, key)
		}
	}
}

// close prints the sums and reports whether all went well.
func (r *report) close() bool {
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return r.failed == 0
}

// reason is the line in which a skipped test says why, with the test's name.
func reason(text string) string {
	var why, name string
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "--- SKIP:"):
			name = strings.TrimPrefix(l, "--- SKIP: ")
		case l != "":
			why = l
		}
	}
	return strings.TrimSpace(name + "  " + why)
}
