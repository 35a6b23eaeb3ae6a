package consumers_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// TestNewClient_PollsHaveConnectionsOfTheirOwn: no connection carries both a receive and something else.
func TestNewClient_PollsHaveConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	used := map[string]map[string]bool{} // by remote address
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		kind := "control"
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ReceiveMessage") {
			kind = "receive"
		}
		if used[r.RemoteAddr] == nil {
			used[r.RemoteAddr] = map[string]bool{}
		}
		used[r.RemoteAddr][kind] = true
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = w.Write([]byte("{}"))
	}))
	defer server.Close()
	client := consumers.NewClient(aws.Config{
		Region: "eu-central-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("x", "y", ""),
	}, consumers.Config{Pollers: 16})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			url := server.URL + "/0/test.fifo"
			for range 5 {
				if _, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url}); err != nil {
					t.Error(err)
				}
				if _, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	for address, kinds := range used {
		if len(kinds) > 1 {
			t.Errorf("connection %s carried receives and other requests", address)
		}
	}
}

// TestNewClient_KeepsAnHTTPClientThatIsNotTheSDKs, such as one without sockets.
func TestNewClient_KeepsAnHTTPClientThatIsNotTheSDKs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	client := consumers.NewClient(b.engine.Config(), consumers.Config{})
	if _, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &b.queue.URL}); err != nil {
		var opErr *net.OpError
		t.Errorf("got %v (a network error: %v), want an answer of the engine", err, errors.As(err, &opErr))
	}
}

// forbidden refuses to show attributes.
type forbidden struct{ consumers.QueueAPI }

func (forbidden) GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	return nil, &smithy.GenericAPIError{Code: "AccessDenied", Message: "User is not authorized"}
}

// TestRun_SaysWhatToDoAboutItsQueues, each at the start.
func TestRun_SaysWhatToDoAboutItsQueues(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	standard := func(name string) string {
		out, err := b.api.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.QueueUrl)
	}("plain")
	for name, c := range map[string]struct {
		api   consumers.QueueAPI
		queue consumers.Queue
		cfg   consumers.Config
		want  string
	}{
		"queue missing":         {queue: consumers.Queue{Service: "test", URL: b.queue.URL + "x", DLQURL: b.queue.DLQURL}, want: "create it, or check the service's name"},
		"DLQ missing":           {queue: consumers.Queue{Service: "test", URL: b.queue.URL, DLQURL: b.queue.DLQURL + "x"}, want: "dead-letter queue of test: read attributes of " + b.queue.DLQURL + "x"},
		"no permission":         {api: forbidden{b.api}, queue: b.queue, want: "allow sqs:GetQueueAttributes"},
		"DLQ not FIFO":          {queue: consumers.Queue{Service: "test", URL: b.queue.URL, DLQURL: standard}, want: "make one whose name ends in .fifo"},
		"timeout over the hide": {queue: b.queue, cfg: consumers.Config{HandlerTimeout: time.Minute}, want: "visibility timeout of 30s, want at least the handler timeout, 1m0s"},
	} {
		api := c.api
		if api == nil {
			api = b.api
		}
		consumer, err := consumers.New(api, c.queue, func(context.Context, events.Event) error { return nil }, c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := consumer.Run(t.Context()); err == nil || !containsText(err, c.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.want)
		}
	}
	_, err := consumers.New(b.api, b.queue, func(context.Context, events.Event) error { return nil },
		consumers.Config{GroupPolicy: consumers.Park, Known: map[string]error{"": nil}})
	if err == nil || !containsText(err, "Parking: got nil") || !containsText(err, "Known: got code") {
		t.Errorf("park without a store, and a sentinel without a code: got %v", err)
	}
}

func TestOn_RefusesASecondHandler(t *testing.T) {
	t.Parallel()
	var mux consumers.Mux
	handle := func(context.Context, events.Event, device.MotionChanged) error { return nil }
	consumers.On(&mux, handle)
	defer func() {
		if got := recover(); got == nil || !strings.Contains(got.(string), "two handlers for device.motion.changed.v1") {
			t.Errorf("got %v", got)
		}
	}()
	consumers.On(&mux, handle)
}
