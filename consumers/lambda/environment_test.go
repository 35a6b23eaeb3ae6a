package lambda_test

import (
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/lambda"
)

func TestFromEnvironment(t *testing.T) {
	t.Parallel()
	env := map[string]string{"FANOUT_QUEUE_URL": "q", "FANOUT_DLQ_URL": "dlq"}
	getenv := func(name string) string { return env[name] }
	queue, cfg, err := lambda.FromEnvironment("lights", getenv)
	if want := (consumers.Queue{Service: "lights", URL: "q", DLQURL: "dlq"}); err != nil || queue != want || cfg.HandlerTimeout != 0 || cfg.MaxReceiveCount != 0 {
		t.Errorf("got %+v, %+v, %v", queue, cfg, err)
	}
	env["FANOUT_SERVICE"], env["FANOUT_HANDLER_TIMEOUT"], env["FANOUT_MAX_RECEIVE_COUNT"] = "lamps", "1m30s", "288"
	queue, cfg, err = lambda.FromEnvironment("lights", getenv)
	if err != nil || queue.Service != "lamps" || cfg.HandlerTimeout != 90*time.Second || cfg.MaxReceiveCount != 288 {
		t.Errorf("got %+v, %+v, %v", queue, cfg, err)
	}
	env = map[string]string{"FANOUT_HANDLER_TIMEOUT": "10", "FANOUT_MAX_RECEIVE_COUNT": "-1"}
	_, _, err = lambda.FromEnvironment("lights", getenv)
	for _, want := range []string{"FANOUT_QUEUE_URL: it is empty", "FANOUT_DLQ_URL: it is empty", `FANOUT_HANDLER_TIMEOUT: got "10"`, `FANOUT_MAX_RECEIVE_COUNT: got "-1"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
