// SPDX-License-Identifier: Apache-2.0

package database

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What urls.py has recorded of SQLAlchemy, PyMySQL and psycopg2 is what becomes of a
// URL here.
func TestURLsAreReadAsInPython(t *testing.T) {
	t.Parallel()
	type vector struct {
		URL   string
		Error string
		Got   map[string]any
	}
	var recorded struct{ MySQL, PostgreSQL []vector }
	text, err := os.ReadFile("testdata/urls.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	check := func(v vector, got map[string]any, err error) {
		t.Helper()
		if (err != nil) != (v.Error != "") {
			t.Errorf("%s: error %v, in Python %q", v.URL, err, v.Error)
		} else if diff := cmp.Diff(v.Got, got); err == nil && diff != "" {
			t.Errorf("%s (-Python +here):\n%s", v.URL, diff)
		}
	}
	for _, v := range recorded.MySQL {
		got, err := seenByMySQL(v.URL)
		if v.Got["charset"] == "latin1" {
			v.Got["charset"] = "utf8mb4" // texts are never anything else here
		}
		if v.Got["socket"] != "" { // then they do not count
			v.Got["host"], v.Got["port"] = got["host"], got["port"]
		}
		check(v, got, err)
	}
	for _, v := range recorded.PostgreSQL {
		a, err := parseAddress(v.URL)
		if err != nil {
			t.Fatal(err)
		}
		settings, err := postgresSettings(a)
		got := map[string]any{}
		for name := range settings {
			got[map[string]string{"dbname": "database"}[name]+map[bool]string{true: name}[name != "dbname"]] = settings.Get(name)
		}
		delete(got, "connect_timeout")
		check(v, got, err)
	}
}

// seenByMySQL is what the driver is told, in the words of urls.py.
func seenByMySQL(text string) (map[string]any, error) {
	a, err := parseAddress(text)
	if err != nil {
		return nil, err
	}
	c, err := mysqlConfig(a, Options{})
	if err != nil {
		return nil, err
	}
	host, port, socket := "localhost", "3306", ""
	if c.Net == "unix" {
		socket = c.Addr
	} else if host, port, err = net.SplitHostPort(c.Addr); err != nil {
		return nil, err
	}
	charset := map[bool]string{true: "utf8", false: "utf8mb4"}[strings.Contains(c.FormatDSN(), "charset=utf8&") || strings.HasSuffix(c.FormatDSN(), "charset=utf8")]
	got := map[string]any{"user": c.User, "password": c.Passwd, "host": host, "port": port, "name": c.DBName, "socket": socket,
		"charset": charset, "tls": c.TLS != nil}
	if c.TLS != nil {
		got["chain"] = !c.TLS.InsecureSkipVerify || c.TLS.VerifyConnection != nil
		got["hostname"] = !c.TLS.InsecureSkipVerify
	}
	return got, nil
}

// Several hosts of PostgreSQL are tried one after the other, each at its port.
func TestPostgresHosts(t *testing.T) {
	t.Parallel()
	a, err := parseAddress("postgresql://u:p@/k?host=a:5433&host=b:5434&host=c&target_session_attrs=read-write&sslmode=disable&ssl_min_protocol_version=TLSv1.3")
	if err != nil {
		t.Fatal(err)
	}
	c, err := postgresConfig(a)
	if err != nil {
		t.Fatal(err)
	}
	type server struct {
		host string
		port uint16
	}
	servers := []server{{c.Host, c.Port}}
	for _, f := range c.Fallbacks {
		servers = append(servers, server{f.Host, f.Port})
	}
	if diff := cmp.Diff([]server{{"a", 5433}, {"b", 5434}, {"c", 5432}}, servers, cmp.AllowUnexported(server{})); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	if c.ValidateConnect == nil {
		t.Error("nobody asks whether the server can be written to")
	}
}

// A parameter of security that is not understood is an error, as is a character set
// in which values could end their quotes.
func TestSecurityIsNeverIgnored(t *testing.T) {
	t.Parallel()
	odd := t.TempDir() + "/odd.cnf"
	if err := os.WriteFile(odd, []byte("[client]\npassword=topsecret\nssl-cipher=x\n[other]\ntls_version=x\n[broken]\nssl-mode=maybe\n[skips]\nskip-ssl\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"mysql://h/k?ssl_cipher=AES":                                          "ssl_cipher is not known",
		"mysql://h/k?ssl_key_password=topsecret":                              "ssl_key_password is not known",
		"mysql://h/k?tls_versions=TLSv1.3":                                    "tls_versions is not known",
		"mysql://h/k?server_public_key=topsecret":                             "server_public_key is not known",
		"mysql://h/k?auth_plugin_map=x":                                       "auth_plugin_map is not known",
		"mysql://h/k?option_files=x":                                          "option_files is not known",
		"mysql://h/k?ssl_mode=topsecret":                                      "parameter ssl_mode is not",
		"mysql://h/k?ssl_capath=/does/not/exist":                              "CA certificates",
		"mysql://h/k?charset=gbk":                                             "charset",
		"mysql://h/k?charset=big5":                                            "charset",
		"mysql://h/k?charset=utf8mb4,gbk":                                     "charset",
		"mysql://h/k?read_default_file=/does/not/exist":                       "read_default_file",
		"mysql://h/k?read_default_file=" + odd:                                "ssl-cipher is not known",
		"mysql://h/k?read_default_group=other&read_default_file=" + odd:       "tls-version is not known",
		"mysql://h/k?read_default_group=broken&read_default_file=" + odd:      "parameter ssl_mode is not",
		"mysql://h/k?read_default_group=skips&read_default_file=" + odd:       "skip-ssl",
		"mysql://h/k?read_default_group=none&read_default_file=" + odd:        "no section",
		"mysql://h/k?read_default_file=" + strings.TrimSuffix(odd, "odd.cnf"): "read_default_file",
		"postgresql://h/k?sslcrl=x":                                           "sslcrl is not known",
		"postgresql://h/k?gssencmode=require":                                 "gssencmode is not known",
		"postgresql://h/k?requirepeer=postgres":                               "requirepeer is not known",
		"postgresql://h/k?ssl=require":                                        "ssl is not known",
		"postgresql://h/k?ssl_min_protocol_version=topsecret":                 "ssl_min_protocol_version is not known",
		"postgresql://u:topsecret@/k?host=a:1:2&host=b":                       "IPv6",
		"mysql://h:12x4/k":                                                    "not of the form",
	} {
		db, err := Open(t.Context(), query, Options{})
		if err == nil {
			_ = db.Close()
			t.Errorf("%s is opened", query)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
}
