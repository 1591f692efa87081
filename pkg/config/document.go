// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

const commentWidth = 77 // of the text behind "# "

// WriteSample writes a configuration file in which every option is commented out: each
// shows its default, after its help, type and limits. DEFAULT comes first, then the
// other sections, and the options of each in the order of the table. The error comes
// from the table or from w.
func WriteSample(w io.Writer, options []Option) error {
	groups, err := byGroup(options)
	if err != nil {
		return err
	}
	var text strings.Builder
	for i, group := range groups {
		fmt.Fprintf(&text, "%s[%s]\n", blankLine(i > 0), group.name)
		for _, option := range group.options {
			if err := option.sample(&text); err != nil {
				return fmt.Errorf("writing the sample of option %s: %w", option.name(), err)
			}
		}
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("writing sample configuration: %w", err)
	}
	return nil
}

// group is a section of a document, its options in order.
type group struct {
	name    string
	options []*Option
}

func byGroup(options []Option) ([]group, error) {
	t, err := newTable(options)
	if err != nil {
		return nil, err
	}
	var groups []group
	at := make(map[string]int)
	for _, name := range t.order {
		if _, ok := at[name.Group]; !ok {
			at[name.Group] = len(groups)
			groups = append(groups, group{name: name.Group})
		}
		i := at[name.Group]
		groups[i].options = append(groups[i].options, t.options[name])
	}
	slices.SortStableFunc(groups, func(a, b group) int {
		return rank(a) - rank(b)
	})
	return groups, nil
}

func rank(g group) int {
	if g.name == DefaultGroup {
		return 0
	}
	return 1
}

func (o *Option) sample(text *strings.Builder) error {
	text.WriteByte('\n')
	comment(text, strings.TrimSpace(o.Help+" ("+o.kindPhrase()+")"))
	for _, limit := range o.limits() {
		comment(text, limit)
	}
	for _, old := range o.names()[1:] {
		comment(text, fmt.Sprintf("Deprecated group/name - [%s]/%s", old.Group, old.Name))
	}
	if o.Sample != "" {
		comment(text, "The value below is an example: the default depends on the machine.")
	}
	for _, value := range o.sampleValues() {
		lines, err := encode(value)
		if err != nil {
			return err
		}
		line := o.name().Name + " = " + strings.Join(lines, "\n")
		for line := range strings.SplitSeq(line, "\n") {
			text.WriteString("#" + strings.TrimRight(line, " ") + "\n")
		}
	}
	return nil
}

// kindPhrase returns the type in the wording of oslo.config's samples.
func (o *Option) kindPhrase() string {
	switch o.Kind {
	case MultiString, Port:
		return o.Kind.String()
	}
	return o.Kind.String() + " value"
}

// limits returns sentences on the allowed values of the option.
func (o *Option) limits() []string {
	var limits []string
	low, high := o.bounds()
	if low != nil {
		limits = append(limits, fmt.Sprintf("Minimum value: %d", *low))
	}
	if high != nil {
		limits = append(limits, fmt.Sprintf("Maximum value: %d", *high))
	}
	if len(o.Choices) > 0 {
		limits = append(limits, "Possible values: "+strings.Join(o.Choices, ", "))
	}
	return limits
}

// sampleValues returns the texts that documents show as the default, one per line.
func (o *Option) sampleValues() []string {
	if o.Sample != "" {
		return []string{o.Sample}
	}
	switch value := o.Default.(type) {
	case nil:
		if o.Kind == MultiString {
			return []string{""}
		}
		return []string{"<None>"}
	case []string:
		if o.Kind == MultiString && len(value) > 0 {
			return value
		}
		return []string{strings.Join(value, ",")}
	case map[string]string:
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(value)) {
			pairs = append(pairs, key+":"+value[key])
		}
		return []string{strings.Join(pairs, ",")}
	case float64:
		return []string{pythonFloat(value)}
	default:
		return []string{fmt.Sprint(value)}
	}
}

// comment writes a text wrapped at words, keeping its own line breaks.
func comment(text *strings.Builder, content string) {
	for paragraph := range strings.SplitSeq(content, "\n") {
		line := "#"
		for word := range strings.FieldsSeq(paragraph) {
			if len(line) > 1 && len(line)+len(word) > commentWidth {
				text.WriteString(line + "\n")
				line = "#"
			}
			line += " " + word
		}
		text.WriteString(line + "\n")
	}
}

// WriteReference writes a Markdown page with a table for each section, in the order of
// WriteSample.
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
		return fmt.Errorf("writing configuration reference: %w", err)
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

// sentences returns the help and everything that the declaration adds to it.
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

// cell escapes a text for one cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
