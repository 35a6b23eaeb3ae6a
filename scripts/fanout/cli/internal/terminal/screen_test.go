package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// terminal does what a terminal does with what screen writes: enough of it to see what a person would see.
type terminal struct {
	width, height int
	rows          [][]rune // the whole of it, with what has scrolled off the top
	row, column   int      // of the cursor
	hidden        bool
}

func newTerminal(width, height int) *terminal {
	return &terminal{width: width, height: height, rows: [][]rune{nil}}
}

func (t *terminal) Write(p []byte) (int, error) {
	text := []rune(string(p))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\r':
			t.column = 0
		case '\n': // the line discipline makes it return as well
			t.column = 0
			t.down()
		case 0x1b:
			end := i + 2
			for end < len(text) && (text[end] < 'A' || text[end] > 'z') {
				end++
			}
			t.obey(string(text[i+2:end]), text[end])
			i = end
		default:
			if t.column == t.width {
				t.column = 0
				t.down()
			}
			for len(t.rows[t.row]) <= t.column {
				t.rows[t.row] = append(t.rows[t.row], ' ')
			}
			t.rows[t.row][t.column] = c
			t.column++
		}
	}
	return len(p), nil
}

func (t *terminal) down() {
	t.row++
	if t.row == len(t.rows) {
		t.rows = append(t.rows, nil)
	}
}

func (t *terminal) obey(argument string, verb rune) {
	switch verb {
	case 'A':
		n := 0
		_, _ = fmt.Sscan(argument, &n)
		t.row = max(t.row-n, len(t.rows)-t.height, 0) // the cursor can't go above the top of the screen
	case 'K':
		t.rows[t.row] = t.rows[t.row][:min(t.column, len(t.rows[t.row]))]
	case 'J':
		t.obey("", 'K')
		t.rows = t.rows[:t.row+1]
	case 'h', 'l':
		t.hidden = verb == 'l'
	default:
		panic(fmt.Sprintf("control sequence %q %q", argument, verb))
	}
}

func (t *terminal) String() string {
	var lines []string
	for _, row := range t.rows {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return strings.Join(lines, "\n")
}

func newTestScreen(width, height int) (*Screen, *terminal) {
	tty := newTerminal(width, height)
	s := NewScreen(tty)
	s.size = func() (int, int) { return tty.width, tty.height }
	return s, tty
}

func (t *terminal) want(tb testing.TB, what string, lines ...string) {
	tb.Helper()
	if got, want := t.String(), strings.Join(lines, "\n"); got != want {
		tb.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
	}
}

func TestScreen_DrawsInPlaceAndKeepsWhatIsWrittenAboveIt(t *testing.T) {
	t.Parallel()
	s, tty := newTestScreen(20, 10)
	fmt.Fprintln(s, "hello")
	tty.want(t, "before", "hello", "")
	s.Draw([]string{"one", "two"})
	tty.want(t, "first view", "hello", "one", "two", "")
	if !tty.hidden {
		t.Error("cursor: got it shown while the view is live, want it hidden")
	}
	s.Draw([]string{"1", "2"})
	tty.want(t, "second view", "hello", "1", "2", "")
	fmt.Fprint(s, "a warn")
	tty.want(t, "half a line is written", "hello", "1", "2", "")
	fmt.Fprint(s, "ing\nand mo")
	tty.want(t, "a line is written", "hello", "a warning", "1", "2", "")
	s.Draw([]string{"just one"})
	tty.want(t, "shorter view", "hello", "a warning", "just one", "")
	fmt.Fprintln(s, "re")
	s.Leave()
	fmt.Fprintln(s, "bye")
	tty.want(t, "after", "hello", "a warning", "and more", "just one", "bye", "")
	if tty.hidden {
		t.Error("cursor: got it hidden after the view, want it shown")
	}
	s.Leave() // once more does nothing
	tty.want(t, "after", "hello", "a warning", "and more", "just one", "bye", "")
}

func TestScreen_FitsTheTerminal(t *testing.T) {
	t.Parallel()
	s, tty := newTestScreen(10, 4)
	for range 3 {
		s.Draw([]string{"0123456789abc", "ü23456789", "third", "fourth", "fifth"})
		tty.want(t, "view", "01234567…", "ü23456789", "third", "")
	}
	tty.width = 40
	s.Draw([]string{"0123456789abc"})
	tty.want(t, "wider", "0123456789abc", "")
	tty.width, tty.rows = 10, [][]rune{[]rune("0123456789"), []rune("abc"), nil} // as terminals wrap what is there
	tty.row = 2
	s.Draw([]string{"narrow"})
	tty.want(t, "narrower", "narrow", "")
}

func TestScreen_WithoutATerminalPassesOn(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := NewScreen(writer)
	if s.Live() {
		t.Error("live: got true for a pipe, want false")
	}
	fmt.Fprint(s, "half a line")
	s.Leave()
	writer.Close()
	if got, err := io.ReadAll(reader); string(got) != "half a line" || err != nil {
		t.Errorf("passed on: got %q, %v, want what was written", got, err)
	}
}
