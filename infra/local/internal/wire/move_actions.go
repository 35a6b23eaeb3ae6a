package wire

import (
	"context"

	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

type startMoveInput struct {
	SourceARN      string `json:"SourceArn" query:"SourceArn"`
	DestinationARN string `json:"DestinationArn" query:"DestinationArn"`
	PerSecond      *int   `json:"MaxNumberOfMessagesPerSecond" query:"MaxNumberOfMessagesPerSecond"`
}

type startMoveOutput struct {
	TaskHandle string `json:"TaskHandle" element:"TaskHandle"`
}

type listMovesInput struct {
	SourceARN  string `json:"SourceArn" query:"SourceArn"`
	MaxResults *int   `json:"MaxResults" query:"MaxResults"`
}

type listMovesOutput struct {
	Results []moveTask `json:"Results,omitempty" element:"ListMessageMoveTasksResultEntry"`
}

type moveTask struct {
	TaskHandle     string `json:"TaskHandle,omitempty" element:"TaskHandle"`
	Status         string `json:"Status" element:"Status"`
	SourceARN      string `json:"SourceArn" element:"SourceArn"`
	DestinationARN string `json:"DestinationArn,omitempty" element:"DestinationArn"`
	PerSecond      int    `json:"MaxNumberOfMessagesPerSecond,omitempty" element:"MaxNumberOfMessagesPerSecond"`
	Moved          int    `json:"ApproximateNumberOfMessagesMoved" element:"ApproximateNumberOfMessagesMoved,always"`
	ToMove         int    `json:"ApproximateNumberOfMessagesToMove" element:"ApproximateNumberOfMessagesToMove,always"`
	FailureReason  string `json:"FailureReason,omitempty" element:"FailureReason"`
	StartedAt      int64  `json:"StartedTimestamp" element:"StartedTimestamp"` // Unix milliseconds
}

type cancelMoveInput struct {
	TaskHandle string `json:"TaskHandle" query:"TaskHandle"`
}

type cancelMoveOutput struct {
	Moved int `json:"ApproximateNumberOfMessagesMoved" element:"ApproximateNumberOfMessagesMoved,always"`
}

func (in *startMoveInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.SourceARN), nil, false
}

func (in *listMovesInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.SourceARN), nil, false
}

func (h *Handler) startMessageMoveTask(_ context.Context, _ *call, in *startMoveInput) (*startMoveOutput, error) {
	handle, err := h.Queues.StartMove(in.SourceARN, in.DestinationARN, in.PerSecond)
	if err != nil {
		return nil, err
	}
	return &startMoveOutput{handle}, nil
}

func (h *Handler) listMessageMoveTasks(_ context.Context, _ *call, in *listMovesInput) (*listMovesOutput, error) {
	limit := 1
	if in.MaxResults != nil {
		if limit = *in.MaxResults; limit < 1 || limit > queue.MaxMovesListed {
			return nil, apierr.New(queue.CodeInvalidParameter, "Value %d for parameter MaxResults is invalid. "+
				"Reason: MaxResults must be an integer between 1 and %d.", limit, queue.MaxMovesListed)
		}
	}
	tasks, err := h.Queues.Moves(in.SourceARN, limit)
	if err != nil {
		return nil, err
	}
	out := &listMovesOutput{}
	for _, t := range tasks {
		out.Results = append(out.Results, moveTask{
			TaskHandle: t.Handle, Status: string(t.Status), SourceARN: t.SourceARN, DestinationARN: t.DestinationARN,
			PerSecond: t.PerSecond, Moved: t.Moved, ToMove: t.ToMove, FailureReason: t.FailureReason,
			StartedAt: t.StartedAt.UnixMilli(),
		})
	}
	return out, nil
}

func (h *Handler) cancelMessageMoveTask(_ context.Context, _ *call, in *cancelMoveInput) (*cancelMoveOutput, error) {
	if in.TaskHandle == "" {
		return nil, apierr.New(queue.CodeMissingParameter, "The request must contain the parameter TaskHandle.")
	}
	moved, err := h.Queues.CancelMove(in.TaskHandle)
	return &cancelMoveOutput{moved}, err
}
