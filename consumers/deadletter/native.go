package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// MoveAPI is what message move tasks need of Amazon SQS; [*sqs.Client] has it.
type MoveAPI interface {
	DepthAPI
	StartMessageMoveTask(ctx context.Context, in *sqs.StartMessageMoveTaskInput, optFns ...func(*sqs.Options)) (*sqs.StartMessageMoveTaskOutput, error)
	ListMessageMoveTasks(ctx context.Context, in *sqs.ListMessageMoveTasksInput, optFns ...func(*sqs.Options)) (*sqs.ListMessageMoveTasksOutput, error)
	CancelMessageMoveTask(ctx context.Context, in *sqs.CancelMessageMoveTaskInput, optFns ...func(*sqs.Options)) (*sqs.CancelMessageMoveTaskOutput, error)
}

// ErrMoving says that SQS itself is moving messages out of a dead-letter queue.
var ErrMoving = errors.New("deadletter: a message move task is under way")

// MoveTask is the progress of a message move task of SQS.
type MoveTask struct {
	Status        string `json:"status"`
	Moved         int64  `json:"moved"`
	ToMove        int64  `json:"to_move"`
	FailureReason string `json:"failure_reason,omitempty"`
}

// Running tells whether the task goes on.
func (t MoveTask) Running() bool { return t.Status == "RUNNING" || t.Status == "CANCELLING" }

// LastMove returns the last message move task of a dead-letter queue; its status is empty if there was none.
func LastMove(ctx context.Context, api MoveAPI, from Source) (MoveTask, error) {
	arn, err := queueARN(ctx, api, from.URL)
	if err != nil {
		return MoveTask{}, err
	}
	t, _, err := lastMove(ctx, api, arn)
	return t, err
}

func lastMove(ctx context.Context, api MoveAPI, arn string) (t MoveTask, handle *string, err error) {
	out, err := api.ListMessageMoveTasks(ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &arn, MaxResults: aws.Int32(1)})
	if err != nil {
		return MoveTask{}, nil, fmt.Errorf("deadletter: list message move tasks of %s: %w", arn, err)
	}
	if len(out.Results) == 0 {
		return MoveTask{}, nil, nil
	}
	r := out.Results[0]
	return MoveTask{
		Status: aws.ToString(r.Status), Moved: r.ApproximateNumberOfMessagesMoved,
		ToMove: aws.ToInt64(r.ApproximateNumberOfMessagesToMove), FailureReason: aws.ToString(r.FailureReason),
	}, r.TaskHandle, nil
}

// RedriveNative lets SQS move all messages back to the queue at toURL by a message move task, oldest first. It blocks until the task has
// ended, and calls progress, which may be nil, twice a second. perSecond is the most messages per second; zero leaves it to SQS. When
// ctx ends, it cancels the task; what was moved stays moved. SQS does not count the redrive in the records, and does this only for the
// dead-letter queue of a queue, not for that of a subscription. The error wraps [ErrMoving] if a task is under way already.
func RedriveNative(ctx context.Context, api MoveAPI, from Source, toURL string, perSecond int, progress func(MoveTask)) (MoveTask, error) {
	source, err := queueARN(ctx, api, from.URL)
	if err != nil {
		return MoveTask{}, err
	}
	destination, err := queueARN(ctx, api, toURL)
	if err != nil {
		return MoveTask{}, err
	}
	in := &sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: &destination}
	if perSecond > 0 {
		in.MaxNumberOfMessagesPerSecond = aws.Int32(int32(perSecond))
	}
	if before, _, err := lastMove(ctx, api, source); err == nil && before.Running() {
		return before, fmt.Errorf("%w on %s: %d of about %d moved", ErrMoving, from.Name(), before.Moved, before.ToMove)
	}
	if _, err := api.StartMessageMoveTask(ctx, in); err != nil {
		return MoveTask{}, fmt.Errorf("deadletter: start a message move task on %s: %w", from.Name(), err)
	}
	background := context.WithoutCancel(ctx)
	stopping := ctx.Done()
	for {
		t, handle, err := lastMove(background, api, source)
		if err != nil {
			return t, err
		}
		if progress != nil {
			progress(t)
		}
		switch {
		case !t.Running() && t.Status != "COMPLETED":
			return t, errors.Join(fmt.Errorf("deadletter: the message move task on %s is %s after %d messages: %s", from.Name(), t.Status, t.Moved, t.FailureReason), ctx.Err())
		case !t.Running():
			return t, nil
		}
		select {
		case <-stopping:
			stopping = nil
			if handle != nil {
				if _, err := api.CancelMessageMoveTask(background, &sqs.CancelMessageMoveTaskInput{TaskHandle: handle}); err != nil {
					return t, fmt.Errorf("deadletter: cancel the message move task on %s: %w", from.Name(), err)
				}
			}
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func queueARN(ctx context.Context, api DepthAPI, url string) (string, error) {
	name := types.QueueAttributeNameQueueArn
	out, err := api.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{name}})
	if err != nil {
		return "", fmt.Errorf("deadletter: read the ARN of %s: %w", url, err)
	}
	return out.Attributes[string(name)], nil
}
