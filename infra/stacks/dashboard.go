package stacks

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// A dashboard reads from left to right as an event goes: topic, queue, dead-letter queues.

// graph is one graph of a dashboard, a third of its width.
func graph(title string, metrics ...awscloudwatch.IMetric) awscloudwatch.IWidget {
	return awscloudwatch.NewGraphWidget(&awscloudwatch.GraphWidgetProps{
		Title: &title, Left: &metrics, Width: jsii.Number(8), Height: jsii.Number(6),
		LeftYAxis: &awscloudwatch.YAxisProps{Min: jsii.Number(0), ShowUnits: jsii.Bool(false)},
	})
}

// labelled is a metric with a name for people.
func labelled(m awscloudwatch.Metric, label string) awscloudwatch.IMetric {
	return m.With(&awscloudwatch.MetricOptions{Label: &label})
}

// topicGraph shows what goes into the topic and what does not come out.
func (t target) topicGraph() awscloudwatch.IWidget {
	return graph("Topic "+t.TopicName(),
		labelled(t.topicMetric("NumberOfMessagesPublished"), "published"),
		labelled(t.topicMetric("NumberOfNotificationsDelivered"), "delivered"),
		labelled(t.topicMetric("NumberOfNotificationsFilteredOut"), "filtered out"),
		labelled(t.topicMetric("NumberOfNotificationsFailed"), "failed"))
}

// newServiceDashboard shows one service.
func newServiceDashboard(stack awscdk.Stack, t target, s topology.Service, running awscloudwatch.Metric) {
	if !t.watched() {
		return
	}
	queue, dlq, delivery := t.QueueName(s.Name), t.DLQName(s.Name), t.DeliveryDLQName(s.Name)
	flow := []awscloudwatch.IWidget{
		t.topicGraph(),
		graph("Queue "+queue,
			labelled(queueMetric(queue, "ApproximateNumberOfMessagesVisible", "Maximum"), "waiting"),
			labelled(queueMetric(queue, "ApproximateNumberOfMessagesNotVisible", "Maximum"), "in flight")),
		graph("Dead letters",
			labelled(queueMetric(dlq, "ApproximateNumberOfMessagesVisible", "Maximum"), "could not be handled"),
			labelled(queueMetric(delivery, "ApproximateNumberOfMessagesVisible", "Maximum"), "could not be delivered")),
	}
	detail := []awscloudwatch.IWidget{
		graph("Age of the oldest event, in seconds",
			labelled(queueMetric(queue, "ApproximateAgeOfOldestMessage", "Maximum"), "age")),
		graph("Rate per minute",
			labelled(queueMetric(queue, "NumberOfMessagesSent", "Sum"), "came"),
			labelled(queueMetric(queue, "NumberOfMessagesReceived", "Sum"), "received"),
			labelled(queueMetric(queue, "NumberOfMessagesDeleted", "Sum"), "done")),
	}
	var last []awscloudwatch.IMetric
	title := "Tasks"
	if !s.Standard {
		// Few of these beside many waiting events: a few devices hold back their own events, and more consumers would not help.
		last, title = append(last, labelled(queueMetric(queue, "ApproximateNumberOfGroupsWithInflightMessages", "Maximum"), "devices in flight")), "Devices"
	}
	if running != nil {
		last, title = append(last, labelled(running, "tasks")), "Devices and tasks"
	}
	if len(last) > 0 {
		detail = append(detail, graph(title, last...))
	}
	newDashboard(stack, t.global(stack, s.Name), flow, detail)
}

// newEnvironmentDashboard shows all services, found by the names of their queues, so that a new one needs no change here.
func newEnvironmentDashboard(stack awscdk.Stack, t target) {
	if !t.watched() {
		return
	}
	search := func(metric, label string, dead bool) awscloudwatch.IMetric {
		which := "NOT QueueName=dlq"
		if dead {
			which = "QueueName=dlq"
		}
		return awscloudwatch.NewMathExpression(&awscloudwatch.MathExpressionProps{
			Expression: jsii.String(fmt.Sprintf(`SEARCH('{AWS/SQS,QueueName} MetricName="%s" QueueName=%s %s', 'Maximum', 60)`,
				metric, t.Scope(), which)),
			Label: &label, UsingMetrics: &map[string]awscloudwatch.IMetric{},
		})
	}
	newDashboard(stack, t.global(stack, "fanout"), []awscloudwatch.IWidget{
		t.topicGraph(),
		graph("Waiting, by queue", search("ApproximateNumberOfMessagesVisible", "", false)),
		graph("Dead letters, by queue", search("ApproximateNumberOfMessagesVisible", "", true)),
	}, []awscloudwatch.IWidget{
		graph("Age of the oldest event, in seconds", search("ApproximateAgeOfOldestMessage", "", false)),
		graph("In flight, by queue", search("ApproximateNumberOfMessagesNotVisible", "", false)),
		graph("Age of the oldest dead letter, in seconds", search("ApproximateAgeOfOldestMessage", "", true)),
	})
}

func newDashboard(stack awscdk.Stack, name string, rows ...[]awscloudwatch.IWidget) {
	var widgets []*[]awscloudwatch.IWidget
	for _, row := range rows {
		widgets = append(widgets, &row)
	}
	awscloudwatch.NewDashboard(stack, jsii.String("Dashboard"), &awscloudwatch.DashboardProps{
		DashboardName: &name, PeriodOverride: awscloudwatch.PeriodOverride_AUTO, Widgets: &widgets,
	})
}
