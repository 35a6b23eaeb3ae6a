package gateway_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

// silentTopic answers nothing.
type silentTopic struct{}

func (silentTopic) PublishBatch(ctx context.Context, _ *sns.PublishBatchInput, _ ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestSpool_DeletedUnderTheGateway: it is not ready any more and answers 503, and after a start on a new folder everything that was answered
// with 202 since is there.
func TestSpool_DeletedUnderTheGateway(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"deleted", "renamed"} {
		dir := filepath.Join(t.TempDir(), "spool")
		p, err := producer.New(silentTopic{}, "arn:aws:sns:eu-central-1:000000000000:dev-device-events.fifo", producer.Config{Spool: dir})
		if err != nil {
			t.Fatal(err)
		}
		w := newFakeWorld(t, p, gateway.Config{})
		if a := w.post(t, oneEvent, power("lamp-1", "e1")); a.status != http.StatusAccepted {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		if a := w.get(t, "/readyz"); a.status != http.StatusOK {
			t.Errorf("before: got %d %s", a.status, a.body)
		}
		if way == "deleted" {
			err = os.RemoveAll(dir)
		} else {
			err = os.Rename(dir, dir+".away")
		}
		if err != nil {
			t.Fatal(err)
		}
		if a := w.get(t, "/readyz"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "the spool takes no events") {
			t.Errorf("%s: ready says %d %s", way, a.status, a.body)
		}
		if a := w.get(t, "/readyz?exclude=buffer,spool"); a.status != http.StatusOK {
			t.Errorf("/readyz but for the spool: got %d %s, want 200", a.status, a.body)
		}
		w.post(t, oneEvent, power("lamp-1", "e2")).wantProblem(t, http.StatusServiceUnavailable, "not-written")
		stream := w.post(t, "application/x-ndjson", power("lamp-2", "e3")+"\n")
		if got := stream.lines(t)[1]; got.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: a line got %+v", way, got)
		}
		if a := w.get(t, "/healthz"); a.status != http.StatusOK {
			t.Errorf("%s: it lives, but got %d", way, a.status)
		}
		w.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_ = p.Close(ctx) // it can't find its files
		cancel()
	}
}

var _ gateway.Publisher = (*producer.Producer)(nil)
