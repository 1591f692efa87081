// SPDX-License-Identifier: Apache-2.0

package database

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

type kind int

const (
	varchar kind = iota
	longText
	integer
	boolean
	datetime
	serial // integer primary key that the engine counts up
)

type column struct {
	name     string
	kind     kind
	size     int
	required bool
	key      bool // primary key
}

type table struct {
	name    string
	columns []column
}

// history lists the first columns of every table. Rows are only marked as deleted.
func history(deletedRequired bool, columns ...column) []column {
	return append([]column{
		{name: "created_at", kind: datetime},
		{name: "updated_at", kind: datetime},
		{name: "deleted_at", kind: datetime},
		{name: "deleted", kind: boolean, required: deletedRequired},
	}, columns...)
}

func chars(name string, size int) column { return column{name: name, size: size} }

func requiredChars(name string, size int) column {
	return column{name: name, size: size, required: true}
}

// tables lists the tables that the protection service uses, and checkpoint_records, which
// is part of karbor's schema.
//
// karbor: db/sqlalchemy/migrate_repo/versions
var tables = []table{
	{"services", history(false,
		column{name: "id", kind: serial, key: true},
		chars("host", 255), chars("binary", 255), chars("topic", 255),
		column{name: "report_count", kind: integer, required: true},
		column{name: "disabled", kind: boolean},
		chars("disabled_reason", 255),
		column{name: "modified_at", kind: datetime},
		chars("rpc_current_version", 36), chars("rpc_available_version", 36))},
	{"operation_logs", history(true,
		column{name: "id", size: 36, required: true, key: true},
		requiredChars("project_id", 255), requiredChars("operation_type", 255),
		chars("checkpoint_id", 36), chars("plan_id", 36), chars("provider_id", 36), chars("restore_id", 36),
		chars("scheduled_operation_id", 36), chars("status", 64),
		column{name: "started_at", kind: datetime}, column{name: "ended_at", kind: datetime},
		column{name: "error_info", kind: longText}, column{name: "extra_info", kind: longText})},
	{"restores", history(false,
		column{name: "id", size: 36, required: true, key: true},
		chars("project_id", 255), chars("provider_id", 36), chars("checkpoint_id", 36), chars("restore_target", 255),
		column{name: "parameters", kind: longText}, chars("status", 64),
		column{name: "resources_status", kind: longText}, column{name: "resources_reason", kind: longText})},
	{"verifications", history(false,
		column{name: "id", size: 36, required: true, key: true},
		requiredChars("project_id", 255), requiredChars("provider_id", 36), requiredChars("checkpoint_id", 36),
		chars("status", 64), column{name: "parameters", kind: longText},
		column{name: "resources_status", kind: longText}, column{name: "resources_reason", kind: longText})},
	{"checkpoint_records", history(true,
		column{name: "id", size: 36, required: true, key: true},
		requiredChars("project_id", 36), requiredChars("checkpoint_id", 36), requiredChars("checkpoint_status", 36),
		requiredChars("provider_id", 36), requiredChars("plan_id", 36),
		chars("operation_id", 36), chars("create_by", 36), column{name: "extend_info", kind: longText})},
}

// misfit returns the reason why a column cannot store a text unchanged on every engine,
// or "". Bounds of short texts are in characters, of long ones in bytes.
func misfit(table, column, text string) string {
	for _, t := range tables {
		for _, c := range t.columns {
			if t.name != table || c.name != column {
				continue
			}
			length, unit, most := utf8.RuneCountInString(text), "characters", c.size
			if c.kind == longText {
				length, unit, most = len(text), "bytes", maxText
			}
			switch {
			case length > most:
				return fmt.Sprintf("%s: want at most %d %s, got %d", column, most, unit, length)
			case !utf8.ValidString(text) || strings.Contains(text, "\x00") || (mysqlDialect{}).text(text) != text:
				return column + ": want a text without NUL and emoji"
			}
		}
	}
	return ""
}

// checkColumns returns the first misfit of some texts as an error.
func checkColumns(table string, texts []assignment) error {
	for _, t := range texts {
		if why := misfit(table, t.column, t.value.(string)); why != "" {
			return errors.New(why)
		}
	}
	return nil
}

func createTable(d dialect, t table) string {
	var lines []string
	key := ""
	for _, c := range t.columns {
		line := d.quote(c.name) + " " + d.columnType(c)
		if c.required {
			line += " NOT NULL"
		}
		if c.key {
			key = c.name
		}
		lines = append(lines, line)
	}
	lines = append(lines, "PRIMARY KEY ("+d.quote(key)+")")
	return "CREATE TABLE IF NOT EXISTS " + t.name + " (" + strings.Join(lines, ", ") + ")" + d.tableOptions()
}
