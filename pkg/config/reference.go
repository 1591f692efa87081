// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io"
	"strings"
)

// WriteReference writes a page of Markdown with a table for each section, in
// the order of WriteSample.
func WriteReference(w io.Writer, options []Option) error {
	groups, err := byGroup(options)
	if err != nil {
		return err
	}
	var text strings.Builder
	for i, group := range groups {
		fmt.Fprintf(&text, "%s## [%s]\n\n| Option | Type | Default | Description |\n|---|---|---|---|\n",
			blankLine(i > 0), group.name)
		for _, option := range group.options {
			option.row(&text)
		}
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write configuration reference: %w", err)
	}
	return nil
}

func (o *Option) row(text *strings.Builder) {
	defaults := o.sampleValues()
	shown := make([]string, len(defaults))
	for i, value := range defaults {
		shown[i] = code(value)
	}
	example := ""
	if o.Sample != "" {
		example = "such as "
	}
	fmt.Fprintf(text, "| `%s` | %s | %s | %s |\n",
		o.name().Name, o.Kind, example+strings.Join(shown, " "), cell(strings.Join(o.sentences(), " ")))
}

// sentences are the help and all that the declaration adds to it.
func (o *Option) sentences() []string {
	var sentences []string
	if o.Help != "" {
		sentences = append(sentences, o.Help)
	}
	for _, limit := range o.limits() {
		sentences = append(sentences, limit+".")
	}
	if o.CLI {
		flags := "`" + flagDisplay(o, "") + "`"
		if o.Short != "" {
			flags += ", `-" + o.Short + "`"
		}
		sentences = append(sentences, "Flag: "+flags+".")
	}
	if o.Secret {
		sentences = append(sentences, "Secret: never logged.")
	}
	for _, old := range o.names()[1:] {
		sentences = append(sentences, fmt.Sprintf("Formerly `[%s] %s`.", old.Group, old.Name))
	}
	return sentences
}

func code(value string) string {
	switch value {
	case "":
		return ""
	case "<None>":
		return "none"
	}
	return "`" + cell(value) + "`"
}

// cell makes a text fit into one cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
