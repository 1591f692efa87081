// SPDX-License-Identifier: Apache-2.0

// Command testreport turns the output of "go test -json" into a report that is short when all is
// well: a line per package, the output of failed tests, the reasons of skipped ones, and the sums.
// The complete output goes to the file named by -log.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
)

func main() {
	logPath := flag.String("log", os.DevNull, "file for the complete output")
	failSkipped := flag.String("fail-skipped", "", "a test that skips with a reason matching this expression counts as failed")
	flag.Parse()
	ok, err := run(os.Stdin, os.Stdout, *logPath, *failSkipped)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run reports the events of in on out and reports whether all went well.
func run(in io.Reader, out io.Writer, logPath, failSkipped string) (ok bool, err error) {
	r := newReport(out)
	if failSkipped != "" {
		if r.forbidden, err = regexp.Compile(failSkipped); err != nil {
			return false, fmt.Errorf("-fail-skipped: %w", err)
		}
	}
	f, err := os.Create(logPath)
	if err != nil {
		return false, err
	}
	w := bufio.NewWriter(f)
	defer func() {
		if e := w.Flush(); err == nil {
			err = e
		}
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	r.log = w
	if err := r.read(in); err != nil {
		return false, fmt.Errorf("reading the events: %w", err)
	}
	return r.close(), nil
}
