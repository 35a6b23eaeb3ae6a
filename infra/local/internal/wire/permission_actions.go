package wire

import (
	"context"

	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

type addPermissionInput struct {
	queueRef
	Label    string   `json:"Label" query:"Label"`
	Accounts []string `json:"AWSAccountIds" query:"AWSAccountId"`
	Actions  []string `json:"Actions" query:"ActionName"`
}

type removePermissionInput struct {
	queueRef
	Label string `json:"Label" query:"Label"`
}

type addTopicPermissionInput struct {
	TopicARN string   `query:"TopicArn"`
	Label    string   `query:"Label"`
	Accounts []string `query:"AWSAccountId.member"`
	Actions  []string `query:"ActionName.member"`
}

type removeTopicPermissionInput struct {
	TopicARN string `query:"TopicArn"`
	Label    string `query:"Label"`
}

func (in *addPermissionInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), nil, false
}

func (in *removePermissionInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), nil, false
}

func (in *addTopicPermissionInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.TopicARN), nil, false
}

func (in *removeTopicPermissionInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.TopicARN), nil, false
}

func (h *Handler) addPermission(_ context.Context, _ *call, q *queue.Queue, in *addPermissionInput) (*struct{}, error) {
	return nil, q.AddPermission(in.Label, in.Accounts, in.Actions)
}

func (h *Handler) removePermission(_ context.Context, _ *call, q *queue.Queue, in *removePermissionInput) (*struct{}, error) {
	return nil, q.RemovePermission(in.Label)
}

func (h *Handler) addTopicPermission(_ context.Context, _ *call, in *addTopicPermissionInput) (*emptyOutput, error) {
	return nil, h.Topics.AddPermission(in.TopicARN, in.Label, in.Accounts, in.Actions)
}

func (h *Handler) removeTopicPermission(_ context.Context, _ *call, in *removeTopicPermissionInput) (*emptyOutput, error) {
	return nil, h.Topics.RemovePermission(in.TopicARN, in.Label)
}
