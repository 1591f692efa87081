// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A key that nothing reads is told with its place, and with the option that it may be
// meant for.
func TestUnknown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.conf")
	text := `[DEFAULT]
report_interval = 1
reprot_interval = 2
connection = x
x = 1
no_such_option = 1
old_name = 3
[databse]
connection = y
[Database]
conection = z
conection = z
[elsewhere]
anything = 1
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadFile(path, []Option{
		{Name: "report_interval", Kind: Int}, {Name: "new_name", Kind: Int, Deprecated: []Name{{Name: "old_name"}}},
		{Group: "database", Name: "connection", Kind: String},
	})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, u := range c.Unknown() {
		texts = append(texts, u.String())
	}
	want := []string{
		path + ":3: there is no option reprot_interval in section [DEFAULT], do you mean report_interval?",
		path + ":4: there is no option connection in section [DEFAULT], do you mean connection in section [database]?",
		path + ":5: there is no option x in section [DEFAULT]",
		path + ":6: there is no option no_such_option in section [DEFAULT]",
		path + ":9: there is no option connection in section [databse], do you mean connection in section [database]?",
		path + ":12: there is no option conection in section [database], do you mean connection?",
		path + ":14: there is no option anything in section [elsewhere]",
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
