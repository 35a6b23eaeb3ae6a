package lambda_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers/lambda"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/internal/logtest"
)

// blind may not read attributes.
type blind struct{ *sqs.Client }

func (blind) GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	return nil, &smithy.GenericAPIError{Code: "AccessDenied", Message: "User is not authorized"}
}

func TestHandle_WarnsOfTheQueuesAttributesOnce(t *testing.T) {
	t.Parallel()
	s := newSource(t, local.New(local.Options{}))
	s.maxReceives(20)
	for name, row := range map[string]struct {
		api  lambda.QueueAPI
		cfg  lambda.Config
		want []string
	}{
		"as they are": {api: s.api, want: []string{"maxReceiveCount of 20, want at least 155", "deduplication scope queue"}},
		"told more":   {api: s.api, cfg: lambda.Config{MaxReceiveCount: 21}, want: []string{"was told a higher maxReceiveCount"}},
		"told less":   {api: s.api, cfg: lambda.Config{MaxReceiveCount: 20}},
		"denied":      {api: blind{s.api}, want: []string{"level=DEBUG"}},
	} {
		var log logtest.Log
		row.cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		function, err := lambda.New(row.api, s.queue, func(context.Context, events.Event) error { return nil }, row.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := function.Handle(t.Context(), awsevents.SQSEvent{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range row.want {
			if n := log.Count(want); n < 1 || n > 2 { // the scope is that of both queues
				t.Errorf("%s: %q is logged %d times, want it once a queue:\n%s", name, want, n, log.String())
			}
		}
		if row.want == nil && strings.Contains(log.String(), "was told") || name == "denied" && strings.Contains(log.String(), "WARN") {
			t.Errorf("%s: got\n%s", name, log.String())
		}
	}
}
