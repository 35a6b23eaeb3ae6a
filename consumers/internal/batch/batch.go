// Package batch makes the batch requests of Amazon SQS. It gives the entries their IDs, ten at most, and finds the answer to each.
package batch

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/sqsapi"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Send sends messages. It sets the entries' IDs.
func Send(ctx context.Context, api sqsapi.BatchSender, url string, entries []types.SendMessageBatchRequestEntry, options ...func(*sqs.Options)) awsx.Answers {
	for i := range entries {
		entries[i].Id = awsx.EntryID(i)
	}
	out, err := api.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries}, options...)
	answers := awsx.AnswersOf(len(entries), err)
	if err == nil {
		for _, ok := range out.Successful {
			answers.Succeed(ok.Id, ok.MessageId, ok.SequenceNumber)
		}
		fail(answers, out.Failed)
	}
	return answers
}

// Delete deletes messages by their receipt handles.
func Delete(ctx context.Context, api sqsapi.Deleter, url string, handles []string, options ...func(*sqs.Options)) awsx.Answers {
	entries := make([]types.DeleteMessageBatchRequestEntry, len(handles))
	for i := range handles {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: awsx.EntryID(i), ReceiptHandle: &handles[i]}
	}
	out, err := api.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries}, options...)
	answers := awsx.AnswersOf(len(entries), err)
	if err == nil {
		for _, ok := range out.Successful {
			answers.Succeed(ok.Id, nil, nil)
		}
		fail(answers, out.Failed)
	}
	return answers
}

// Hidden is a received message, and how long it shall stay hidden from others: whole seconds, rounded up; zero makes it visible.
type Hidden struct {
	Handle string
	For    time.Duration
}

// Hide sets how long messages stay hidden.
func Hide(ctx context.Context, api sqsapi.VisibilityChanger, url string, messages []Hidden, options ...func(*sqs.Options)) awsx.Answers {
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(messages))
	for i, m := range messages {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
			Id: awsx.EntryID(i), ReceiptHandle: &messages[i].Handle, VisibilityTimeout: int32(max(0, m.For+time.Second-1) / time.Second),
		}
	}
	out, err := api.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url, Entries: entries}, options...)
	answers := awsx.AnswersOf(len(entries), err)
	if err == nil {
		for _, ok := range out.Successful {
			answers.Succeed(ok.Id, nil, nil)
		}
		fail(answers, out.Failed)
	}
	return answers
}

func fail(answers awsx.Answers, failed []types.BatchResultErrorEntry) {
	for _, f := range failed {
		answers.Fail(f.Id, f.Code, f.Message, f.SenderFault)
	}
}

// Once switches the SDK's own retries off, for requests that are tried again by rules of their own.
func Once(o *sqs.Options) { o.Retryer = aws.NopRetryer{} }
