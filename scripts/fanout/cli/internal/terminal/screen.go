// Package terminal shows a live view on a terminal, and writes nothing from elsewhere that a terminal would obey.
package terminal

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
)

// Control sequences that every terminal of today knows.
const (
	cursorUp      = "\x1b[%dA"
	clearLine     = "\x1b[K" // from the cursor to the end of its line
	clearBelow    = "\x1b[J" // from the cursor to the end of the screen
	cursorHide    = "\x1b[?25l"
	cursorShow    = "\x1b[?25h"
	defaultWidth  = 80
	defaultHeight = 24
)

// Screen shows a live view at the bottom of a terminal. What is written to it meanwhile, such as log lines, goes above the view
// and stays there. Where there is no terminal it only passes on what is written. Lines and what is written are cleaned as by [Writer]. It is
// safe for concurrent use.
type Screen struct {
	size func() (width, height int) // nil where there is no terminal

	mu    sync.Mutex
	w     io.Writer // for what the terminal obeys
	text  *Writer   // the same, for what it does not
	view  []string  // as it stands on the terminal
	shown bool      // a view is there, and the cursor hidden
	tail  []byte    // what was written after the last newline
}

// NewScreen makes a screen of w; it is live if w, or what is [Under] it, is a terminal.
func NewScreen(w io.Writer) *Screen {
	w = Under(w)
	s := &Screen{w: w, text: NewWriter(w)}
	if file, ok := w.(*os.File); ok && isatty.IsTerminal(file.Fd()) && os.Getenv("TERM") != "dumb" {
		s.size = func() (int, int) { return terminalSize(file) }
	}
	return s
}

// Live tells whether a view can be shown.
func (s *Screen) Live() bool { return s.size != nil }

// Write passes on what is written, above the view if there is one. A line that is not complete waits for its end meanwhile.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shown {
		return s.text.Write(p)
	}
	s.tail = append(s.tail, p...)
	end := bytes.LastIndexByte(s.tail, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	above := string(s.tail[:end])
	s.tail = s.tail[end:]
	_, err := io.WriteString(s.w, s.home()+clearBelow+Clean(above)+s.paint(s.view))
	return len(p), err
}

// Draw puts lines in the place of the view before.
func (s *Screen) Draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.home()
	if !s.shown {
		text += cursorHide
	}
	s.shown = true
	_, _ = io.WriteString(s.w, text+s.paint(lines)) // one write, so that nothing flickers
}

// Leave ends the live view. It stays where it is, and what is written from now on stands below it.
func (s *Screen) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shown {
		return
	}
	_, _ = io.WriteString(s.w, cursorShow+Clean(string(s.tail)))
	s.shown, s.view, s.tail = false, nil, nil
}

// home moves the cursor to where the view begins. A line that has become longer than the terminal is wide takes several rows.
func (s *Screen) home() string {
	width, _ := s.size()
	rows := 0
	for _, line := range s.view {
		rows += max(1, (utf8.RuneCountInString(line)+width-1)/width)
	}
	if rows == 0 {
		return "\r"
	}
	return "\r" + fmt.Sprintf(cursorUp, rows)
}

// paint gives the view line by line, cut to the terminal, and clears what is left of the view before.
func (s *Screen) paint(lines []string) string {
	width, height := s.size()
	lines = lines[:min(len(lines), max(height-1, 1))]
	s.view = make([]string, len(lines))
	var b strings.Builder
	for i, line := range lines {
		s.view[i] = Shorten(Line(line), width-1)
		b.WriteString(s.view[i] + clearLine + "\r\n")
	}
	b.WriteString(clearBelow)
	return b.String()
}

// Shorten cuts text to n characters, the last of which is then an ellipsis.
func Shorten(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}
