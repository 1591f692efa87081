// SPDX-License-Identifier: Apache-2.0

// Package printable makes untrusted texts safe to show: on terminals, which obey
// control characters, and in logs, where a line break would begin a new line.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Characters that join two characters into one, or keep them apart, in some scripts and
// in pictures.
const (
	joiner    = '\u200d'
	nonJoiner = '\u200c'
)

// shown reports whether a terminal only displays the character at its place. Control
// characters, changes of the writing direction, line and paragraph separators, and
// unassigned characters are not shown.
func shown(r rune) bool {
	return unicode.IsGraphic(r) || r == joiner || r == nonJoiner
}

// Line returns a text as one line. Characters that cannot be printed, and bytes that are no
// UTF-8, become the escapes of Go source, such as \n, \x1b and \u202e. A backslash stays, so
// a printable text is its own Line.
func Line(text string) string {
	first := strings.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError || !shown(r) })
	if first < 0 {
		return text
	}
	var out strings.Builder
	out.WriteString(text[:first])
	for rest := text[first:]; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		if shown(r) && (r != utf8.RuneError || size > 1) {
			out.WriteString(rest[:size])
		} else {
			quoted := strconv.QuoteToGraphic(rest[:size])
			out.WriteString(quoted[1 : len(quoted)-1])
		}
		rest = rest[size:]
	}
	return out.String()
}

// JSON returns an equivalent JSON document that is safe to show: its strings have \u
// escapes for the characters that Line escapes.
func JSON(document []byte) []byte {
	out := make([]byte, 0, len(document))
	for rest := document; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == '\n' || r == '\t' || r == '\r': // they can only stand between values
			out = append(out, rest[:size]...)
		case r == utf8.RuneError && size == 1:
			out = fmt.Appendf(out, `\u%04x`, utf8.RuneError) // what decoders make of it
		case shown(r):
			out = append(out, rest[:size]...)
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, `\u%04x`, unit)
			}
		}
		rest = rest[size:]
	}
	return out
}

// Cut returns the text when it has no more than limit bytes, and otherwise its
// beginning with a mark of how many bytes are missing, together no longer than
// limit. No character is cut in two. A limit below the mark's own length leaves
// the mark alone.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	mark := func(missing int) string { return fmt.Sprintf("...(%d more bytes)", missing) }
	end := max(limit-len(mark(len(text))), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark(len(text)-end)
}
