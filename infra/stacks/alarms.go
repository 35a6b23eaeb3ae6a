package stacks

import (
	"fmt"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// maxInFlight is how many messages of a queue may be received and not yet deleted. At the limit SQS gives no error, it just
// returns nothing. See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
const maxInFlight = 120_000

// alarm is one alarm on one metric.
type alarm struct {
	id, name string // of the construct, and what follows the scope in the alarm's name
	about    string // what has happened and what to do
	metric   awscloudwatch.Metric
	above    float64 // it alarms above this value, or below 1 with silence
	minutes  int     // for so many minutes in a row; zero means 1
	silence  bool    // it alarms when there is nothing
}

// newAlarms makes alarms that notify the environment's alarm topic, also when they end. It returns that topic as the stack knows it.
func newAlarms(stack awscdk.Stack, t target, alarms []alarm) awssns.ITopic {
	topic := awssns.Topic_FromTopicArn(stack, jsii.String("AlarmTopic"), arn(stack, "sns", t.AlarmTopicName()))
	to := awscloudwatchactions.NewSnsAction(topic)
	for _, a := range alarms {
		props := &awscloudwatch.AlarmProps{
			AlarmName:          jsii.String(t.Scope() + "-" + a.name),
			AlarmDescription:   &a.about,
			Metric:             a.metric,
			Threshold:          jsii.Number(a.above),
			ComparisonOperator: awscloudwatch.ComparisonOperator_GREATER_THAN_THRESHOLD,
			EvaluationPeriods:  jsii.Number(max(1, a.minutes)),
			TreatMissingData:   awscloudwatch.TreatMissingData_NOT_BREACHING,
		}
		if a.silence {
			props.Threshold = jsii.Number(1)
			props.ComparisonOperator = awscloudwatch.ComparisonOperator_LESS_THAN_THRESHOLD
			props.TreatMissingData = awscloudwatch.TreatMissingData_BREACHING
		}
		made := awscloudwatch.NewAlarm(stack, jsii.String(a.id+"Alarm"), props)
		made.AddAlarmAction(to)
		made.AddOkAction(to)
	}
	return topic
}

// queueMetric is a metric of a queue, over minutes.
func queueMetric(queue, name, statistic string) awscloudwatch.Metric {
	return metric("AWS/SQS", name, statistic, time.Minute, map[string]*string{"QueueName": &queue})
}

// topicMetric is a metric of the topic, over minutes.
func (t target) topicMetric(name string) awscloudwatch.Metric {
	return metric("AWS/SNS", name, "Sum", time.Minute, map[string]*string{"TopicName": jsii.String(t.TopicName())})
}

func metric(namespace, name, statistic string, period time.Duration, dimensions map[string]*string) awscloudwatch.Metric {
	return awscloudwatch.NewMetric(&awscloudwatch.MetricProps{
		Namespace: &namespace, MetricName: &name, Statistic: &statistic, DimensionsMap: &dimensions,
		Period: awscdk.Duration_Seconds(jsii.Number(period.Seconds())),
	})
}

// over is a metric over another period.
func over(m awscloudwatch.Metric, period time.Duration) awscloudwatch.Metric {
	return m.With(&awscloudwatch.MetricOptions{Period: awscdk.Duration_Seconds(jsii.Number(period.Seconds()))})
}

// newTopicAlarms watches the topic.
func newTopicAlarms(stack awscdk.Stack, t target) awssns.ITopic {
	alarms := []alarm{
		{
			id: "Failed", name: "topic-failed", metric: t.topicMetric("NumberOfNotificationsFailed"),
			about: "SNS could not deliver events to a queue: a queue is gone, or its policy or key refuses. What failed is in that service's delivery dead-letter queue.",
		},
		{
			id: "Lost", name: "topic-lost", metric: t.topicMetric("NumberOfNotificationsFailedToRedriveToDlq"),
			about: "Events are LOST: SNS could deliver them neither to a queue nor to its delivery dead-letter queue. Look at the policies and keys of both.",
		},
		{
			id: "Redriven", name: "topic-set-aside", metric: t.topicMetric("NumberOfNotificationsRedrivenToDlq"),
			about: "SNS has put events into a delivery dead-letter queue. Mend the queue, its policy or its key, then redrive.",
		},
		{
			id: "NoAttributes", name: "topic-no-attributes", metric: t.topicMetric("NumberOfNotificationsFilteredOut-NoMessageAttributes"),
			about: "Events without attributes were published; filters drop them. A producer does not use the SDK.",
		},
		{
			id: "BadAttributes", name: "topic-bad-attributes", metric: t.topicMetric("NumberOfNotificationsFilteredOut-InvalidAttributes"),
			about: "Events with broken attributes were published; filters drop them. A producer does not use the SDK.",
		},
	}
	if silence := t.Environment.MaxSilence; silence > 0 {
		alarms = append(alarms, alarm{
			id: "Silent", name: "topic-silent", silence: true, metric: over(t.topicMetric("NumberOfMessagesPublished"), silence),
			about: fmt.Sprintf("No gateway has published an event for %v.", silence),
		})
	}
	return newAlarms(stack, t, alarms)
}

// newServiceAlarms watches a service's queues, and its tasks if it has any here.
func newServiceAlarms(stack awscdk.Stack, t target, s topology.Service, running awscloudwatch.Metric) awssns.ITopic {
	queue, dlq, delivery := t.QueueName(s.Name), t.DLQName(s.Name), t.DeliveryDLQName(s.Name)
	redrive := fmt.Sprintf("See why with %s dlq ls %s --env %s, mend the cause, then redrive.", t.app.Program, s.Name, t.Environment.Name)
	alarms := []alarm{
		{
			// By what is visible: what SQS moves into the queue is not counted as sent.
			id: "DLQ", name: s.Name + "-dlq-not-empty", metric: queueMetric(dlq, "ApproximateNumberOfMessagesVisible", "Maximum"),
			about: s.Name + " could not handle events. " + redrive,
		},
		{
			id: "DeliveryDLQ", name: s.Name + "-delivery-dlq-not-empty", metric: queueMetric(delivery, "ApproximateNumberOfMessagesVisible", "Maximum"),
			about: "Events could not be delivered to " + queue + ": it is gone, or its policy or key refuses. Mend that, then redrive from " + delivery + ".",
		},
		{
			id: "Age", name: s.Name + "-too-old", metric: queueMetric(queue, "ApproximateAgeOfOldestMessage", "Maximum"),
			above: s.MaxAge.Seconds(), minutes: 5,
			about: fmt.Sprintf("The oldest event has waited more than %v for %s: its consumer is down, too slow, or stuck on a device.", s.MaxAge, s.Name),
		},
		{
			id: "InFlight", name: s.Name + "-in-flight", metric: queueMetric(queue, "ApproximateNumberOfMessagesNotVisible", "Maximum"),
			above: maxInFlight * 0.8,
			about: fmt.Sprintf("%s holds more than 80 %% of the %d messages that SQS lets be in flight; at the limit receives return nothing, without an error.", s.Name, maxInFlight),
		},
	}
	if silence := t.MaxSilence(s); silence > 0 {
		alarms = append(alarms, alarm{
			id: "Silent", name: s.Name + "-silent", silence: true, metric: over(queueMetric(queue, "NumberOfMessagesSent", "Sum"), silence),
			about: fmt.Sprintf("No event has come to %s for %v: its subscription or filter is wrong, or nobody publishes.", s.Name, silence),
		})
	}
	if running != nil {
		alarms = append(alarms, alarm{
			id: "Absent", name: s.Name + "-absent", silence: true, metric: over(running, 5*time.Minute),
			about: "No task of " + s.Name + " has run for five minutes.",
		})
	}
	return newAlarms(stack, t, alarms)
}
