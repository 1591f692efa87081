// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/wire.md instead of comparing it")

const (
	root    = "../.."
	wireDoc = root + "/docs/wire.md"
)

const wireHeader = `# Conformance with oslo.messaging

Generated from ` + "`test/interop/testdata/checklist.txt`" + ` and the names of the tests by
` + "`go test ./test/interop -run TestWireDocument -update`" + `; do not edit.

Levels: M must, S should, O optional. The column "shown on" follows from the packages of the tests: those of ` + "`rpctest`" + `
are the conformance suite, which runs on RabbitMQ and, without a broker, on the transport in memory; those of
` + "`rabbit_test`" + `, ` + "`interop`" + ` and ` + "`tlsbroker`" + ` run on RabbitMQ, the latter two beside Debian's python3-oslo.messaging 14.0.3; the
others need no transport. An item that is shown on RabbitMQ alone is about the broker or about a peer behind one.

What oslo.messaging 14.0.3 and 18.1.0 were recorded to send is sent again: ` + "`rabbit.TestGoldenPublishes`" + ` compares 101
messages with address, properties, envelope and members, ` + "`rabbit.TestGoldenDeclares_*`" + ` every declaration of
servers, callers, notifiers, listeners and pools, both read off the connection to the broker. One recorded message,
of the driver messaging (v1), is not ours to send.

Item 11: what 18.1.0 was recorded to do with the options that 14.0.3 lacks is repeated by a peer on the same topic. With
OSLO_MESSAGING, the folder of a checkout of such a version, ` + "`interop.TestNewerPythonBesideGo`" + ` lets that version do it itself.

| item | level | what must hold | tests | shown on | status |
|---|---|---|---|---|---|
`

// testName finds items in the names of tests and of the suite's checks.
var testName = regexp.MustCompile(`(?:func Test|")Checklist(\d+)_(\w+)`)

// packageClause names the package of a file of tests.
var packageClause = regexp.MustCompile(`(?m)^package (\w+)`)

// shown are the transports that the tests of a package run on; packages that are
// not here need none.
var shown = map[string][]string{
	"rpctest":     {"RabbitMQ", "memory"},
	"rabbit_test": {"RabbitMQ"},
	"interop":     {"RabbitMQ"},
	"tlsbroker":   {"RabbitMQ"},
}

// wireTest is a test of an item: "folder.name" and the package that it is in.
type wireTest struct{ name, in string }

// shownOn are the transports of an item.
func shownOn(tests []wireTest) string {
	var all []string
	for _, test := range tests {
		all = append(all, shown[test.in]...)
	}
	if len(all) == 0 {
		return "no transport needed"
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// names are those of the tests.
func names(tests []wireTest) string {
	var all []string
	for _, test := range tests {
		all = append(all, test.name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// wireTests maps an item to its tests.
func wireTests(t *testing.T) map[string][]wireTest {
	t.Helper()
	tests := map[string][]wireTest{}
	for _, dir := range []string{root + "/rpc", root + "/test/interop", root + "/test/tlsbroker"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" {
				return err
			}
			text, err := os.ReadFile(path)
			in := packageClause.FindSubmatch(text)
			for _, m := range testName.FindAllSubmatch(text, -1) {
				item := strings.TrimLeft(string(m[1]), "0")
				tests[item] = append(tests[item], wireTest{filepath.Base(filepath.Dir(path)) + "." + string(m[2]), string(in[1])})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return tests
}

func TestWireDocument(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("testdata/checklist.txt")
	if err != nil {
		t.Fatal(err)
	}
	tests := wireTests(t)
	doc := bytes.NewBufferString(wireHeader)
	for line := range strings.Lines(string(list)) {
		parts := strings.Split(strings.TrimSpace(line), "|")
		if strings.HasPrefix(line, "#") || len(parts) != 4 {
			continue
		}
		item, note := parts[0], parts[3]
		status := "tested"
		switch {
		case len(tests[item]) == 0 && note == "":
			t.Errorf("item %s has neither a test nor a note", item)
		case len(tests[item]) == 0:
			status = "no test: " + note
		case note != "":
			status = "partly tested: " + note
		}
		fmt.Fprintf(doc, "| %s | %s | %s | %s | %s | %s |\n", item, parts[1], parts[2], names(tests[item]), shownOn(tests[item]), status)
		delete(tests, item)
	}
	for item := range tests {
		t.Errorf("tests of item %s, which is not in the list", item)
	}
	if *update {
		if err := os.WriteFile(wireDoc, doc.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(wireDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, doc.Bytes()) {
		t.Error("docs/wire.md is out of date: run this test with -update")
	}
}
