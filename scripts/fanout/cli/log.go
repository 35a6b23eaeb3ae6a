package cli

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/device-fanout/fanout/internal/redact"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

// newLogger logs what a person should see while a command works: warnings and errors.
func newLogger(w io.Writer) *slog.Logger { return loggerFrom(w, slog.LevelWarn) }

// loggerFrom logs from a level on, without the secrets of URLs.
func loggerFrom(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, redacting(level)))
}

// jsonLogger is loggerFrom with a JSON object a line.
func jsonLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, redacting(level)))
}

func redacting(level slog.Level) *slog.HandlerOptions {
	return &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Value.Kind() {
		case slog.KindString:
			a.Value = slog.StringValue(redact.Text(a.Value.String()))
		case slog.KindAny:
			switch value := a.Value.Any().(type) {
			case error, fmt.Stringer:
				a.Value = slog.StringValue(redact.Text(fmt.Sprintf("%+v", value))) // which bears a nil pointer
			}
		default: // numbers, times, durations
		}
		return a
	}}
}

// errorLine is an error as a line of what a command reports while it works.
func errorLine(err error) string { return terminal.Line(redact.Text(err.Error())) }
