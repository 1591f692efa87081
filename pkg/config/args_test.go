// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseArgs(t *testing.T) {
	t.Parallel()
	got, err := ParseArgs([]string{
		"--config-file", "a.conf", "--config-file=b.conf", "--config-dir", "c.d", "-d",
		"--state_path=/x", "--state-path", "/y", "--log-file=a=b", "--pybasedir", "/old",
		"--database-pause", "-1.5", "--provider-plugin", "p", "--provider-plugin=q", "--nodebug",
	}, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	want := Source{
		Files: []string{"a.conf", "b.conf"}, Dirs: []string{"c.d"},
		Overrides: map[Name][]string{
			{"DEFAULT", "debug"}:      {"true", "false"},
			{"DEFAULT", "state_path"}: {"/x", "/y"},
			{"DEFAULT", "log_file"}:   {"a=b"},
			{"DEFAULT", "pybasedir"}:  {"/old"},
			{"database", "pause"}:     {"-1.5"},
			{"provider", "plugin"}:    {"p", "q"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseArgsErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"--zzz=secret", "unknown argument --zzz"},
		{"stray", "unknown argument stray"},
		{"-x", "unknown argument -x"},
		{"--", "unknown argument --"},
		{"--host x", "unknown argument --host"},
		{"--debug=true", "flag --debug takes no value: use --debug or --nodebug"},
		{"--state-path", "flag --state-path needs a value"},
		{"--state-path --debug", "flag --state-path needs a value"},
		{"--config-file", "flag --config-file needs a value"},
		{"--config-file=", "flag --config-file needs a path"},
	} {
		_, err := ParseArgs(strings.Fields(test.args), testOptions)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: error %v, want %s", test.args, err, test.want)
		}
	}
	for flag, want := range map[string]error{"--help": ErrHelp, "-h": ErrHelp, "--version": ErrVersion} {
		if _, err := ParseArgs([]string{flag}, testOptions); !errors.Is(err, want) {
			t.Errorf("%s: error %v", flag, err)
		}
	}
}

func TestFromProcess(t *testing.T) {
	t.Setenv("HOME", "/home/karbor")
	t.Setenv("OS_DEFAULT__HOST", "from-env")
	src, err := FromProcess("karbor", "karbor-protection", []string{"-d"}, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if src.Project != "karbor" || src.Prog != "karbor-protection" || src.Home != "/home/karbor" {
		t.Errorf("source %+v", src)
	}
	src.Root = t.TempDir() // no /etc of the machine
	src.Home = t.TempDir()
	if got := mustLoad(t, src).String("", "host"); got != "from-env" {
		t.Errorf("host = %q", got)
	}
}

func TestWriteUsage(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	if err := WriteUsage(&text, "karbor-protection", testOptions); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"usage: karbor-protection [flags]", "--config-file PATH", "  --state-path STATE_PATH\n        Root of the state.",
		"  --debug, -d, --nodebug\n", "  --database-pause PAUSE\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("usage lacks %q:\n%s", want, text.String())
		}
	}
}
