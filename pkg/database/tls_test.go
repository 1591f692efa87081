// SPDX-License-Identifier: Apache-2.0

package database

import "testing"

// As with PyMySQL, the server is verified as soon as there is a CA.
func TestMySQLTLS(t *testing.T) {
	t.Parallel()
	tests := []struct {
		query                       string
		encrypted, skips, ownVerify bool
	}{
		{"", false, false, false},
		{"charset=utf8", false, false, false},
		{"ssl_ca=testdata/ca.pem", true, false, false},
		{"ssl_ca=testdata/ca.pem&ssl_check_hostname=true", true, false, false},
		{"ssl_ca=testdata/ca.pem&ssl_check_hostname=false", true, true, true},
		{"ssl_ca=testdata/ca.pem&ssl_verify_identity=0", true, true, true},
		{"ssl_ca=testdata/ca.pem&ssl_verify_cert=false", true, true, false},
		{"ssl_ca=testdata/ca.pem&ssl_disabled=true", false, false, false},
		{"ssl_verify_cert=true", true, false, false},
		{"ssl_check_hostname=false", true, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			t.Parallel()
			a, err := parseAddress("mysql://u@db.example/k?" + tt.query)
			if err != nil {
				t.Fatal(err)
			}
			c, err := mysqlTLS(a)
			if err != nil {
				t.Fatal(err)
			}
			if (c != nil) != tt.encrypted {
				t.Fatalf("TLS is %v, want %t", c, tt.encrypted)
			}
			if c == nil {
				return
			}
			if c.InsecureSkipVerify != tt.skips || (c.VerifyConnection != nil) != tt.ownVerify || c.ServerName != "db.example" {
				t.Errorf("skips verification: %t, verifies the chain itself: %t, server name %q", c.InsecureSkipVerify, c.VerifyConnection != nil, c.ServerName)
			}
		})
	}
}
