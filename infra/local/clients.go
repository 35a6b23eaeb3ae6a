package local

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// inProcessEndpoint is the endpoint of clients without sockets. Nothing listens there on their account; it gives queue
// URLs their usual form.
const inProcessEndpoint = "http://" + DefaultAddr

// credentials are those that the engine does not check.
var credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local", Source: "local engine"}, nil
})

// Config is an AWS configuration whose clients talk to the engine without sockets.
func (e *Engine) Config() aws.Config {
	return aws.Config{
		Region:       e.region,
		Credentials:  credentials,
		BaseEndpoint: aws.String(inProcessEndpoint),
		HTTPClient:   e.HTTPClient(),
	}
}

// SNS makes a client that talks to the engine without sockets. It retries as the SDK does by default.
func (e *Engine) SNS(options ...func(*sns.Options)) *sns.Client {
	return sns.NewFromConfig(e.Config(), options...)
}

// SQS makes a client that talks to the engine without sockets. It retries as the SDK does by default.
func (e *Engine) SQS(options ...func(*sqs.Options)) *sqs.Client {
	return sqs.NewFromConfig(e.Config(), options...)
}
