package producer

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// TestSpool_FolderIsTakenAway: from then on no event is accepted, Stats and one line of the log say why, and what was accepted before goes out.
// It goes on by itself once the folder is back.
func TestSpool_FolderIsTakenAway(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	hold := make(chan struct{})
	topic := &fakeTopic{script: func(int, *sns.PublishBatchInput) *reply { return &reply{holdUntil: hold} }}
	var log bytes.Buffer
	p := newProducer(t, topic, Config{Spool: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := p.Publish(t.Context(), motion("d1", "e1")); err != nil {
		t.Fatal(err)
	}
	if err := p.Stats().SpoolErr; err != nil {
		t.Errorf("at first: %v", err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := p.Stats().SpoolErr; !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("Stats: got %v, want that the folder is gone", err)
	}
	for _, id := range []string{"e2", "e3"} {
		var failed *SpoolError
		if err := p.Publish(t.Context(), motion("d1", id)); !errors.As(err, &failed) || !errors.Is(err, os.ErrNotExist) || failed.EventID != id {
			t.Errorf("event %s without a folder: got %v, want a SpoolError", id, err)
		}
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), motion("d1", "e4")); err != nil {
		t.Errorf("with the folder back: %v", err)
	}
	if err := p.Stats().SpoolErr; err != nil {
		t.Errorf("with the folder back: %v", err)
	}
	close(hold)
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Confirmed != 2 || s.Failed != 2 || s.SpoolErr != ErrClosed {
		t.Errorf("got %+v, want e1 and e4 confirmed, and the spool closed", s)
	}
	for text, want := range map[string]int{"takes no events": 1, "takes events again": 1, "put it back": 1} {
		if got := strings.Count(log.String(), text); got != want {
			t.Errorf("the log says %q %d times, want %d:\n%s", text, got, want, log.String())
		}
	}
}
