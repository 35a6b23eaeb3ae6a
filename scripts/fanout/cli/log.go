package cli

import (
	"io"
	"log/slog"
)

// newLogger logs what a person should see while a command works: warnings and errors.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
