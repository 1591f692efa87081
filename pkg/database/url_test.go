// SPDX-License-Identifier: Apache-2.0

package database

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	none := url.Values{}
	tests := []struct {
		text  string
		want  address
		shown string
	}{
		{"mysql+pymysql://karbor:pw@db/karbor?charset=utf8", address{backend: "mysql", user: "karbor", password: "pw", host: "db", name: "karbor", query: url.Values{"charset": {"utf8"}}}, "mysql://karbor:***@db/karbor"},
		{"mysql://u:p%40s%2Fs%3A%25+@10.0.0.1:3307/k", address{backend: "mysql", user: "u", password: "p@s/s:%+", host: "10.0.0.1", port: "3307", name: "k", query: none}, "mysql://u:***@10.0.0.1:3307/k"},
		{"mysql://u:a/b:c@h/k", address{backend: "mysql", user: "u", password: "a/b:c", host: "h", name: "k", query: none}, "mysql://u:***@h/k"},
		{"postgresql+psycopg2://u@[fd00::1]:5433/k", address{backend: "postgresql", user: "u", host: "fd00::1", port: "5433", name: "k", query: none}, "postgresql://u@[fd00::1]:5433/k"},
		{"postgres://h", address{backend: "postgresql", host: "h", query: none}, "postgresql://h"},
		{"postgresql://u@/k?host=/run/pg", address{backend: "postgresql", user: "u", name: "k", query: url.Values{"host": {"/run/pg"}}}, "postgresql://u@/k"},
		{"sqlite://", address{backend: "sqlite", query: none}, "sqlite://"},
		{"sqlite:///karbor.sqlite", address{backend: "sqlite", name: "karbor.sqlite", query: none}, "sqlite:///karbor.sqlite"},
		{"sqlite:////var/lib/karbor/karbor.sqlite", address{backend: "sqlite", name: "/var/lib/karbor/karbor.sqlite", query: none}, "sqlite:////var/lib/karbor/karbor.sqlite"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			got, err := parseAddress(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(address{})); diff != "" {
				t.Errorf("address (-want +got):\n%s", diff)
			}
			if got.String() != tt.shown {
				t.Errorf("shown as %s, want %s", got, tt.shown)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ url, want string }{
		{"karbor:topsecret@db", "not of the form"},
		{"mysql://karbor:not@topsecret/encoded@db/karbor", "not of the form"},
		{"mysql://karbor:not@topsecret@db/karbor", "not of the form"},
		{"oracle://karbor:topsecret@db/karbor", `kind "oracle"`},
		{"mysql://karbor:topsecret@db/karbor?ssl_ca=/does/not/exist", "CA certificates"},
		{"mysql://karbor:topsecret@db/karbor?ssl_cert=/does/not/exist", "client certificate"},
		{"mysql://karbor:topsecret@db/karbor?ssl_caa=x", "ssl_caa is not known"},
		{"mysql://karbor:topsecret@db/karbor?ssl_ca=testdata/ca.pem&ssl_check_hostname=perhaps", "ssl_check_hostname is not true or false"},
		{"mysql://karbor:topsecret@db/karbor?connect_timeout=soon", "connect_timeout is not a number"},
		{"postgresql://karbor:topsecret@db/karbor?sslmode=topsecret", "not valid for PostgreSQL"},
		{"sqlite://relative/path", "three slashes"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			t.Parallel()
			db, err := Open(t.Context(), tt.url, Options{})
			if err == nil {
				_ = db.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %q, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "topsecret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("mysql+pymysql://karbor:topsecret@db:3306/karbor?charset=utf8")
	f.Add("postgresql://u:p%40@[::1]/k")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAddress(text)
		if err != nil {
			if err != errAddress { //nolint:errorlint // the text must not be in it
				t.Fatalf("error %v", err)
			}
			return
		}
		if shown := a.String(); len(a.password) > 8 && strings.Contains(shown, a.password) && !strings.Contains(a.user+a.host+a.name+a.backend, a.password) {
			t.Fatalf("%q is shown as %q", text, shown)
		}
	})
}
