package consumers

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers/internal/core"
)

// Client is a QueueAPI whose long polls have connections of their own, so that they can't keep deletes and heartbeats waiting.
type Client struct {
	*sqs.Client // for everything but receives
	receiver    *sqs.Client
}

// NewClient makes the client of a Consumer with settings c. Receives keep a connection for every poller and give up on a response
// five seconds after the wait time, other requests after ten seconds. An HTTP client in cfg that is not the SDK's own is used as it
// is, for both. The options apply to both.
func NewClient(cfg aws.Config, c Config, options ...func(*sqs.Options)) *Client {
	c = c.withDefaults()
	return &Client{
		Client:   sqs.NewFromConfig(withPool(cfg, core.MaxDeletes+4, requestTimeout), options...),
		receiver: sqs.NewFromConfig(withPool(cfg, c.Pollers, c.WaitTime+5*time.Second), options...),
	}
}

// withPool gives a configuration its own HTTP connections: how many are kept, and how long a response may take to begin.
func withPool(cfg aws.Config, connections int, timeout time.Duration) aws.Config {
	base, ok := cmp.Or[aws.HTTPClient](cfg.HTTPClient, awshttp.NewBuildableClient()).(*awshttp.BuildableClient)
	if !ok {
		return cfg
	}
	cfg = cfg.Copy()
	cfg.HTTPClient = base.WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, connections)
		t.MaxIdleConns = max(t.MaxIdleConns, connections)
		t.ResponseHeaderTimeout = timeout
	})
	return cfg
}

// ReceiveMessage implements [QueueAPI].
func (c *Client) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, optFns ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	return c.receiver.ReceiveMessage(ctx, in, optFns...)
}
