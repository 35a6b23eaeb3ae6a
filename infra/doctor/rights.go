package doctor

import (
	"strings"

	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

// work is something that people do, and what it takes.
type work struct {
	name   string // as in Right.Work
	about  string // what the caller does, after "may not"
	policy string // the last part of the name of the managed policy that allows it
	needs  []need
}

// need are actions on resources.
type need struct{ actions, resources []string }

// works are those of whoever is on call. Queues and dead-letter queues stand for those of every service: policies name them by pattern.
func works(d topology.Deployment, p provision.Place) []work {
	if len(d.Services) == 0 {
		return nil
	}
	s := provision.Declare(d, d.Services[0], p)
	all, topic := []string{"*"}, []string{p.ARN("sns", d.TopicName())}
	queues, dlqs := []string{s.Queue.ARN, s.DLQ.ARN, s.DeliveryDLQ.ARN}, []string{s.DLQ.ARN, s.DeliveryDLQ.ARN}
	return []work{
		{"doctor", "look at everything that doctor looks at", "on-call", []need{
			{[]string{"sns:ListTopics", "sqs:ListQueues", "cloudformation:DescribeStacks", "cloudwatch:GetMetricData"}, all},
			{[]string{"sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:GetSubscriptionAttributes"}, topic},
			{[]string{"sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ListQueueTags"}, queues},
		}},
		{"on_call", "see alarms and dashboards", "on-call", []need{
			{[]string{"cloudwatch:DescribeAlarms", "cloudwatch:DescribeAlarmHistory", "cloudwatch:GetDashboard", "cloudwatch:ListDashboards"}, all},
		}},
		{"redrive", "look at dead letters, redrive and drop them", "redrive-operator", []need{
			{[]string{
				"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility",
				"sqs:StartMessageMoveTask", "sqs:CancelMessageMoveTask", "sqs:ListMessageMoveTasks",
			}, dlqs},
			{[]string{"sqs:SendMessage"}, queues},
		}},
	}
}

// roleOf is the name of the role in the ARN of a session, such as arn:aws:sts::123456789012:assumed-role/on-call/anna. It is empty for
// whoever has no role.
func roleOf(caller string) string {
	_, session, ok := strings.Cut(caller, ":assumed-role/")
	if !ok {
		return ""
	}
	role, _, _ := strings.Cut(session, "/")
	return role
}

// roleName is the name of the caller's role if policies can be attached to it: IAM Identity Center keeps its own to itself.
func roleName(caller string) string {
	if role := roleOf(caller); !strings.HasPrefix(role, "AWSReservedSSO_") {
		return role
	}
	return ""
}
