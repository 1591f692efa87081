// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden documents")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", name, diff)
	}
}

var documentOptions = append([]Option{
	{
		Group: "zeta", Name: "long", Kind: Float, Default: 2.0, Deprecated: []Name{{"old", "length"}},
		Help: "A help text that is too long for one line of the sample and therefore goes on in the " +
			"next one.\nIt has a | in it and a second paragraph.",
	},
	{Group: "zeta", Name: "several", Kind: MultiString, Default: []string{"one", " two "}},
	{Group: "zeta", Name: "lines", Default: "first\nsecond"},
}, testOptions...)

func TestDocuments(t *testing.T) {
	t.Parallel()
	var sample, reference strings.Builder
	if err := WriteSample(&sample, documentOptions); err != nil {
		t.Fatal(err)
	}
	if err := WriteReference(&reference, documentOptions); err != nil {
		t.Fatal(err)
	}
	golden(t, "sample.conf", sample.String())
	golden(t, "reference.md", reference.String())
}

// TestSampleHoldsTheDefaults takes the comment signs off the assignments of the
// sample: the file must then give what no file gives.
func TestSampleHoldsTheDefaults(t *testing.T) {
	t.Parallel()
	options := append([]Option(nil), documentOptions...)
	for i := range options {
		options[i].Sample = ""
	}
	var sample strings.Builder
	if err := WriteSample(&sample, options); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.SplitSeq(sample.String(), "\n") {
		text, commented := strings.CutPrefix(line, "#")
		assigns := commented && !strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "#    ")
		if strings.HasSuffix(line, "<None>") || line == "#plugin =" {
			continue
		}
		if assigns {
			line = text
		}
		lines = append(lines, line)
	}
	path := writeFile(t, "sample.conf", strings.Join(lines, "\n"))
	read, err := LoadFile(path, options)
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := Load(Source{}, options)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults.Dump(), read.Dump()); diff != "" {
		t.Errorf("-defaults +sample\n%s", diff)
	}
	if !read.IsSet("zeta", "lines") || read.String("zeta", "lines") != "first\nsecond" {
		t.Errorf("lines = %q", read.String("zeta", "lines"))
	}
}

type failingWriter struct{}

var errFull = errors.New("full")

func (failingWriter) Write([]byte) (int, error) { return 0, errFull }

func TestDocumentsReportTheWriter(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"sample":    WriteSample(failingWriter{}, testOptions),
		"reference": WriteReference(failingWriter{}, testOptions),
		"usage":     WriteUsage(failingWriter{}, "p", testOptions),
		"write":     Write(failingWriter{}, []Assignment{{"", "a", "b"}}),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
