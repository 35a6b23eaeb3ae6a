// Package logtest is a log that a test can read while it is written.
package logtest

import (
	"log/slog"
	"strings"
	"sync"
)

// Log keeps what is logged. The zero value is empty and ready. It is safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Logger returns a logger that writes lines of text to l, from level info on.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns what was logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count returns how often part was logged so far.
func (l *Log) Count(part string) int { return strings.Count(l.String(), part) }
