// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/ini.v1"
)

// file is one configuration file: ini.v1's model, filled by the lexer. Key.Value is the
// last occurrence, which a scalar takes, and Key.NestedValues are all occurrences in
// order. (ValueWithShadows would lose the empty ones.) Section names are canonical
// groups.
type file struct {
	path  string
	model *ini.File
	lines map[Name][]int // of each occurrence
}

// occurrence is a value as written in a source.
type occurrence struct {
	text  string
	where string
}

func readFile(path string) (*file, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration file: %w", err)
	}
	assigned, err := lex(string(text))
	if err != nil {
		var bad *ParseError
		if errors.As(err, &bad) {
			bad.File = path
		}
		return nil, err
	}
	return newFile(path, assigned)
}

func newFile(path string, assigned []assignment) (*file, error) {
	f := &file{
		path:  path,
		model: ini.Empty(ini.LoadOptions{AllowNestedValues: true}),
		lines: make(map[Name][]int),
	}
	for _, a := range assigned {
		group := canonicalGroup(a.section)
		section, err := f.model.NewSection(group)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: section %s: %w", path, a.line, a.section, err)
		}
		key, err := section.NewKey(a.key, a.value)
		if err == nil {
			err = key.AddNestedValue(a.value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: key %s: %w", path, a.line, a.key, err)
		}
		name := Name{group, a.key}
		f.lines[name] = append(f.lines[name], a.line)
	}
	return f, nil
}

// values returns the occurrences of a canonical name, none when the name is absent.
func (f *file) values(name Name) []occurrence {
	lines := f.lines[name]
	if len(lines) == 0 {
		return nil
	}
	texts := f.model.Section(name.Group).Key(name.Name).NestedValues()
	found := make([]occurrence, len(lines))
	for i, text := range texts {
		found[i] = occurrence{text, f.path + ":" + strconv.Itoa(lines[i])}
	}
	return found
}

// assignment is one "key = value" of a file. The value is the text with outer
// blanks and one pair of quotes removed and continuation lines joined by
// newlines; references are not yet expanded.
type assignment struct {
	section, key, value string
	line                int // of the key, from 1
}

// lexer splits a file by the rules of oslo.config (oslo_config/iniparser.py
// BaseParser.parse): the first column tells sections, comments, assignments
// and continuations apart, and there are no inline comments.
type lexer struct {
	section    string
	inSection  bool
	open       bool // the last assignment may still be continued
	assigned   []assignment
	lineNumber int
}

// lex returns the assignments of text in order. The error is a *ParseError
// without a file name.
func lex(text string) ([]assignment, error) {
	if !utf8.ValidString(text) {
		return nil, &ParseError{Line: invalidLine(text), Reason: "the text is not UTF-8"}
	}
	// Python opens the file in text mode, which treats all three line ends alike.
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	l := &lexer{}
	for line := range strings.SplitSeq(text, "\n") {
		l.lineNumber++
		if err := l.read(strings.TrimRightFunc(line, isSpace)); err != nil {
			return nil, err
		}
	}
	return l.assigned, nil
}

func (l *lexer) read(line string) error {
	if line == "" {
		l.open = false
		return nil
	}
	switch line[0] {
	case ' ', '\t':
		return l.continuation(strings.TrimLeftFunc(line, isSpace))
	case '[':
		l.open = false
		return l.header(line)
	case '#', ';':
		l.open = false
		return nil
	}
	return l.assignment(line)
}

func (l *lexer) continuation(text string) error {
	if !l.open {
		return l.fail("unexpected continuation line: the line is indented but continues no value")
	}
	last := &l.assigned[len(l.assigned)-1]
	last.value += "\n" + text
	return nil
}

func (l *lexer) header(line string) error {
	if !strings.HasSuffix(line, "]") {
		return l.fail("the section must end with ]")
	}
	if line == "[]" {
		return l.fail("the section has no name")
	}
	l.section, l.inSection = line[1:len(line)-1], true
	return nil
}

func (l *lexer) assignment(line string) error {
	at := strings.IndexAny(line, "=:")
	if at < 0 {
		return l.fail("no = or : found in the assignment")
	}
	key := trim(line[:at])
	if key == "" {
		return l.fail("the key is empty")
	}
	if !l.inSection {
		return l.fail("a section must be started before the first assignment")
	}
	value := unquote(trim(line[at+1:]))
	l.assigned = append(l.assigned, assignment{l.section, key, value, l.lineNumber})
	l.open = true
	return nil
}

// fail never shows the line, because a broken line may hold a password.
func (l *lexer) fail(reason string) error {
	return &ParseError{Line: l.lineNumber, Reason: reason}
}

// unquote removes one pair of equal quotes around the first line of a value. A lone
// quote counts as a pair, as in iniparser.py _split_key_value.
func unquote(value string) string {
	if value == "" || (value[0] != '"' && value[0] != '\'') || value[0] != value[len(value)-1] {
		return value
	}
	if len(value) == 1 {
		return ""
	}
	return value[1 : len(value)-1]
}

// isSpace is Python's str.isspace, which strip uses: Unicode's white space and the four
// separators that Go excludes.
func isSpace(r rune) bool { return unicode.IsSpace(r) || (r >= 0x1c && r <= 0x1f) }

func trim(s string) string { return strings.TrimFunc(s, isSpace) }

func invalidLine(text string) int {
	line := 1
	for i, r := range text {
		if r == '\n' {
			line++
		}
		if r != utf8.RuneError {
			continue
		}
		if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
			break
		}
	}
	return line
}
