package local

import (
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// TB is what [Start] needs of a test: a *testing.T, *testing.B or *testing.F is one.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Instance is a running engine with clients of it.
type Instance struct {
	Engine *Engine
	SNS    *sns.Client
	SQS    *sqs.Client
}

// Start gives a test SNS and SQS of its own: a new engine without queues and topics, and clients that talk to it
// without sockets. Nothing needs to be closed; when the test and those of its cleanups that were registered later are
// over, the engine is closed. Start needs no goroutine and works inside testing/synctest.
//
// Topics and queues are made with the clients. With those of a topology in place, it is provision.Start.
func Start(t TB, opts Options) *Instance {
	t.Helper()
	e := New(opts)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Fatalf("close the local engine: %v", err)
		}
	})
	return &Instance{Engine: e, SNS: e.SNS(), SQS: e.SQS()}
}
