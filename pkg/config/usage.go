// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io"
	"strings"
)

// WriteUsage writes the flags that ParseArgs knows, with their help.
func WriteUsage(w io.Writer, prog string, options []Option) error {
	t, err := newTable(options)
	if err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "usage: %s [flags]\n\n", prog)
	line(&text, "--config-file PATH", "Configuration file, may be repeated: later ones win.")
	line(&text, "--config-dir PATH", "Directory of *.conf files, read after the files; may be repeated.")
	line(&text, "--help, -h", "Show this text.")
	line(&text, "--version", "Show the version.")
	for _, name := range t.order {
		if o := t.options[name]; o.CLI {
			line(&text, o.usage(), o.Help)
		}
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write usage: %w", err)
	}
	return nil
}

func (o *Option) usage() string {
	flags := flagDisplay(o, "")
	if o.Short != "" {
		flags += ", -" + o.Short
	}
	if o.Kind == Bool {
		return flags + ", " + flagDisplay(o, "no")
	}
	return flags + " " + strings.ToUpper(o.name().Name)
}

func line(text *strings.Builder, flags, help string) {
	fmt.Fprintf(text, "  %s\n        %s\n", flags, strings.Join(strings.Fields(help), " "))
}
