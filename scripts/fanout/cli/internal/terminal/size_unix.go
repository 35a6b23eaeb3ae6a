//go:build unix

package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

// terminalSize is the size of the terminal in characters.
func terminalSize(file *os.File) (width, height int) {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col < 2 || size.Row < 2 {
		return defaultWidth, defaultHeight
	}
	return int(size.Col), int(size.Row)
}
