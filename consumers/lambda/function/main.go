// The Lambda function of the service history: a template to copy. Build it for Lambda's own runtime (provided.al2023) as
//
//	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build -tags lambda.norpc -o bootstrap ./consumers/lambda/function
//
// It is set up by environment variables: FANOUT_QUEUE_URL and FANOUT_DLQ_URL of the service's queues, and
// FANOUT_DATABASE, its PostgreSQL database: a URL or settings (password in PGPASSWORD), or the JSON that Secrets Manager keeps for RDS. The stack also sets those of the handler timeout and of the
// queue's maxReceiveCount; see package lambda.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	awslambda "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/consumers/lambda"
	_ "github.com/device-fanout/fanout/events/device" // the types that the function knows
)

func main() {
	function, err := newFunction(context.Background(), os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	awslambda.Start(function.Handle)
}

// newFunction opens what the function needs, once for all of its calls.
func newFunction(ctx context.Context, getenv func(string) string) (*lambda.Function, error) {
	database := getenv("FANOUT_DATABASE")
	queue, settings, err := lambda.FromEnvironment("history", getenv)
	if database == "" || err != nil {
		return nil, errors.Join(errors.New("function: want FANOUT_DATABASE, FANOUT_QUEUE_URL and FANOUT_DLQ_URL in the environment"), err)
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil)) // what a function writes, CloudWatch Logs keeps
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("function: AWS configuration: %w", err)
	}
	service, err := history.Open(ctx, database, history.Config{Logger: logger})
	if err != nil {
		return nil, fmt.Errorf("function: %w", err)
	}
	settings.UnknownTypes, settings.Check, settings.Logger = service.UnknownTypes(), service.Check, logger
	return lambda.New(sqs.NewFromConfig(cfg), queue, service.Handle, settings)
}
