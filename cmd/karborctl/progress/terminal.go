// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Terminal returns what tells the size of the terminal that out is, or nil if
// out is something else, or a terminal that cannot move its cursor.
func Terminal(out io.Writer, getenv func(string) string) func() (columns, rows int) {
	file, ok := out.(*os.File)
	if !ok || getenv("TERM") == "dumb" || getenv("TERM") == "" {
		return nil
	}
	size := func() (columns, rows int, err error) {
		window, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			return 0, 0, err
		}
		return int(window.Col), int(window.Row), nil
	}
	if _, _, err := size(); err != nil {
		return nil
	}
	return func() (columns, rows int) {
		columns, rows, err := size()
		if err != nil || columns <= 0 || rows <= 0 { // serial lines do not know theirs
			return 80, 24
		}
		return columns, rows
	}
}
