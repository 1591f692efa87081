// SPDX-License-Identifier: Apache-2.0

package database

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/ini.v1"
)

// withOptionFile fills parameters that the URL omits from the MySQL option file that it
// names: parameters read_default_file, and read_default_group, whose default is client.
// An unreadable file is an error, because without it the connection might not be
// encrypted. Errors show nothing of the file, which holds passwords.
//
// pymysql: connections.py, Connection.__init__; optionfile.py
func withOptionFile(a address) (address, error) {
	path, group := a.param("read_default_file"), a.param("read_default_group")
	if path == "" && group == "" {
		return a, nil
	}
	path, group = cmp.Or(path, "/etc/my.cnf"), cmp.Or(group, "client")
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return a, fmt.Errorf("reading the file of parameter read_default_file: %w", err)
		}
		path = filepath.Join(home, rest)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return a, fmt.Errorf("reading the file of parameter read_default_file: %w", err)
	}
	file, err := ini.LoadSources(ini.LoadOptions{
		AllowBooleanKeys: true, IgnoreInlineComment: true, IgnoreContinuation: true, InsensitiveKeys: true, PreserveSurroundedQuote: true,
	}, text)
	if err != nil {
		return a, fmt.Errorf("the file %s of parameter read_default_file is no option file of MySQL", path)
	}
	if !file.HasSection(group) {
		return a, fmt.Errorf("the file %s has no section [%s]", path, group)
	}
	options := map[string]string{}
	for _, section := range []string{ini.DefaultSection, group} { // as in Python, the first counts for all
		for _, key := range file.Section(section).Keys() {
			options[strings.ReplaceAll(key.Name(), "_", "-")] = withoutQuotes(key.Value())
		}
	}
	return a.withOptions(options)
}

func (a address) withOptions(options map[string]string) (address, error) {
	a.query = maps.Clone(a.query)
	if a.query == nil {
		a.query = url.Values{}
	}
	param := func(name, value string) {
		if a.param(name) == "" && value != "" {
			a.query.Set(name, value)
		}
	}
	for name, value := range options {
		switch name {
		case "user":
			a.user = cmp.Or(a.user, value)
		case "password":
			a.password = cmp.Or(a.password, value)
		case "host":
			a.host = cmp.Or(a.host, value)
		case "port":
			a.port = cmp.Or(a.port, value)
		case "database":
			a.name = cmp.Or(a.name, value)
		case "socket":
			param("unix_socket", value)
		case "default-character-set":
			param("charset", value)
		case "ssl-ca", "ssl-capath", "ssl-cert", "ssl-key", "ssl-mode":
			param(strings.ReplaceAll(name, "-", "_"), value)
		case "ssl-verify-server-cert":
			param("ssl_verify_cert", cmp.Or(value, "true"))
		case "skip-ssl":
			return a, errors.New("the option file has skip-ssl: use ssl-mode=DISABLED")
		default: // mysqlTLS refuses what concerns security
			if strings.HasPrefix(name, "ssl") || strings.HasPrefix(name, "tls") {
				param(name, cmp.Or(value, "true"))
			}
		}
	}
	return a, nil
}

func withoutQuotes(s string) string {
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[0] == s[len(s)-1] {
		return s[1 : len(s)-1]
	}
	return s
}
