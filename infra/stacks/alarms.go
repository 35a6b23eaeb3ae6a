package stacks

import (
	"fmt"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
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
	runbook  string // the section of the guide for whoever is on call
	metric   awscloudwatch.IMetric
	above    float64 // it alarms above this value, or below 1 with silence
	minutes  int     // for so many minutes in a row; zero means 1
	once     bool    // one of these minutes is enough
	silence  bool    // it alarms when there is nothing
}

// newAlarms makes alarms that notify the environment's alarm topic, also when they end, unless the environment has none. It returns that topic
// as the stack knows it.
func newAlarms(stack awscdk.Stack, t target, alarms []alarm) awssns.ITopic {
	topic := awssns.Topic_FromTopicArn(stack, jsii.String("AlarmTopic"), arn(stack, "sns", t.AlarmTopicName()))
	if !t.watched() {
		return topic
	}
	to := awscloudwatchactions.NewSnsAction(topic)
	for _, a := range alarms {
		props := &awscloudwatch.AlarmProps{
			AlarmName:          jsii.String(t.Scope() + "-" + a.name),
			AlarmDescription:   jsii.String(a.about + " " + t.app.Runbook + "#" + a.runbook),
			Metric:             a.metric,
			Threshold:          jsii.Number(a.above),
			ComparisonOperator: awscloudwatch.ComparisonOperator_GREATER_THAN_THRESHOLD,
			EvaluationPeriods:  jsii.Number(max(1, a.minutes)),
			TreatMissingData:   awscloudwatch.TreatMissingData_NOT_BREACHING,
		}
		if a.once {
			props.DatapointsToAlarm = jsii.Number(1)
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

// newLetters is how many messages have come into a dead-letter queue: those that a consumer has sent, and those by which it has grown, since
// what SQS moves by itself is not counted as sent. It is a rate, which is over when no more come, and no level, which would stay until
// somebody has time for them and hide those that come meanwhile.
func newLetters(queue string) awscloudwatch.IMetric {
	return awscloudwatch.NewMathExpression(&awscloudwatch.MathExpressionProps{
		Expression: jsii.String("FILL(sent, 0) + IF(grown > 0, grown, 0)"), Label: jsii.String("new dead letters"),
		Period: seconds(60),
		UsingMetrics: &map[string]awscloudwatch.IMetric{
			"sent": queueMetric(queue, "NumberOfMessagesSent", "Sum"),
			// A queue that was idle for hours has no value of before: then it held nothing. A minute without a value is as the one before it.
			"grown": awscloudwatch.NewMathExpression(&awscloudwatch.MathExpressionProps{
				Expression: jsii.String("DIFF(FILL(FILL(waiting, REPEAT), 0) + FILL(FILL(hidden, REPEAT), 0))"), Period: seconds(60),
				UsingMetrics: &map[string]awscloudwatch.IMetric{
					"waiting": queueMetric(queue, "ApproximateNumberOfMessagesVisible", "Maximum"),
					"hidden":  queueMetric(queue, "ApproximateNumberOfMessagesNotVisible", "Maximum"),
				},
			}),
		},
	})
}

// publishQuota is how many messages per second an account may publish to FIFO topics of a region, until AWS raises it.
// See https://docs.aws.amazon.com/general/latest/gr/sns.html.
func publishQuota(region string) float64 {
	switch region {
	case "us-east-1":
		return 30_000
	case "us-west-2", "eu-west-1":
		return 9_000
	}
	return 3_000
}

// newTopicAlarms watches the topic.
func newTopicAlarms(stack awscdk.Stack, t target) awssns.ITopic {
	quota := publishQuota(t.Environment.Region)
	alarms := []alarm{
		{
			id: "Failed", name: "topic-failed", metric: t.topicMetric("NumberOfNotificationsFailed"), runbook: "sns-cant-deliver",
			about: "SNS could not deliver events to a queue: a queue is gone, or its policy or key refuses. What failed is in that service's delivery dead-letter queue.",
		},
		{
			id: "Lost", name: "topic-lost", metric: t.topicMetric("NumberOfNotificationsFailedToRedriveToDlq"), runbook: "sns-cant-deliver",
			about: "Events are LOST: SNS could deliver them neither to a queue nor to its delivery dead-letter queue. Look at the policies and keys of both.",
		},
		{
			id: "NoAttributes", name: "topic-no-attributes", metric: t.topicMetric("NumberOfNotificationsFilteredOut-NoMessageAttributes"), runbook: "events-are-filtered-out",
			about: "Events without attributes were published; filters drop them. A producer does not use the SDK.",
		},
		{
			id: "BadAttributes", name: "topic-bad-attributes", metric: t.topicMetric("NumberOfNotificationsFilteredOut-InvalidAttributes"), runbook: "events-are-filtered-out",
			about: "Events with broken attributes were published; filters drop them. A producer does not use the SDK.",
		},
		{
			id: "Quota", name: "topic-near-quota", metric: t.topicMetric("NumberOfMessagesPublished"), above: 0.8 * 60 * quota, minutes: 5, runbook: "near-the-publish-quota",
			about: fmt.Sprintf("More than 80 %% of the %.0f messages per second are published that an account may publish to FIFO topics of this region; beyond it SNS throttles. Ask AWS for more.", quota),
		},
	}
	if silence := t.Environment.MaxSilence; silence > 0 {
		alarms = append(alarms, alarm{
			id: "Silent", name: "topic-silent", silence: true, metric: over(t.topicMetric("NumberOfMessagesPublished"), silence), runbook: "nothing-comes",
			about: fmt.Sprintf("No gateway has published an event for %v.", silence),
		})
	}
	return newAlarms(stack, t, alarms)
}

// Alarms that roll a deployment of a service back: it is healthy, and wrong.
const (
	deadLettersAlarm = "-dead-letters"
	ageAlarm         = "-too-old"
	receiveAlarm     = "-receive-fails"
)

// nearRetention is the part of a retention after which what waits is in danger to be deleted unread.
const nearRetention = 0.75

// newServiceAlarms watches a service's queues, and what consumes them if it runs here.
func newServiceAlarms(stack awscdk.Stack, t target, s topology.Service, running awscloudwatch.Metric) awssns.ITopic {
	queue, dlq, delivery := t.QueueName(s.Name), t.DLQName(s.Name), t.DeliveryDLQName(s.Name)
	age := func(queue string) awscloudwatch.Metric {
		return queueMetric(queue, "ApproximateAgeOfOldestMessage", "Maximum")
	}
	expires := func(id, name, queue string, retention time.Duration, what string) alarm {
		return alarm{
			id: id, name: name, metric: over(age(queue), 15*time.Minute), above: nearRetention * retention.Seconds(), runbook: "messages-are-about-to-expire",
			about: fmt.Sprintf("The oldest %s in %s has used three quarters of the %v after which SQS deletes it.", what, queue, retention),
		}
	}
	alarms := []alarm{
		{
			id: "DLQ", name: s.Name + deadLettersAlarm, metric: newLetters(dlq), minutes: 5, once: true, runbook: "dead-letters",
			about: fmt.Sprintf("%s could not handle events. See why with %s dlq ls %s --env %s, mend the cause, then redrive. It is over when no more have come for five minutes; what has come stays for 14 days.",
				s.Name, t.app.Program, s.Name, t.Environment.Name),
		},
		{
			id: "DeliveryDLQ", name: s.Name + "-deliveries-fail", metric: newLetters(delivery), minutes: 5, once: true, runbook: "sns-cant-deliver",
			about: "Events could not be delivered to " + queue + ": it is gone, or its policy or key refuses. Mend that, then redrive from " + delivery + ".",
		},
		{
			id: "Age", name: s.Name + ageAlarm, metric: age(queue), above: s.MaxAge.Seconds(), minutes: 5, runbook: "the-queue-grows",
			about: fmt.Sprintf("The oldest event has waited more than %v for %s: its consumer is down, too slow, or stuck on a device.", s.MaxAge, s.Name),
		},
		expires("Expires", s.Name+"-expires", queue, s.Retention, "event"),
		expires("DLQExpires", s.Name+"-dlq-expires", dlq, topology.DLQRetention, "dead letter"),
		expires("DeliveryDLQExpires", s.Name+"-delivery-dlq-expires", delivery, topology.DLQRetention, "event that could not be delivered"),
		{
			id: "InFlight", name: s.Name + "-in-flight", metric: queueMetric(queue, "ApproximateNumberOfMessagesNotVisible", "Maximum"), runbook: "the-queue-grows",
			above: maxInFlight * 0.8,
			about: fmt.Sprintf("%s holds more than 80 %% of the %d messages that SQS lets be in flight; at the limit receives return nothing, without an error.", s.Name, maxInFlight),
		},
	}
	if s.MaxSilence > 0 {
		alarms = append(alarms, alarm{
			id: "Silent", name: s.Name + "-silent", silence: true, metric: over(queueMetric(queue, "NumberOfMessagesSent", "Sum"), s.MaxSilence), runbook: "nothing-comes",
			about: fmt.Sprintf("No event has come to %s for %v: its subscription or filter is wrong, or nobody publishes.", s.Name, s.MaxSilence),
		})
	}
	switch {
	case running != nil:
		alarms = append(
			alarms,
			alarm{
				id: "Absent", name: s.Name + "-absent", silence: true, metric: over(running, 5*time.Minute), runbook: "no-task-runs",
				about: "No task of " + s.Name + " has run for five minutes.",
			},
			alarm{
				id: "Receive", name: s.Name + receiveAlarm, metric: t.receiveErrors(s), above: 10, minutes: 3, runbook: "the-queue-grows",
				about: s.Name + " can't receive: its rights, the key of its queue or its way to SQS are missing. Its log says which.",
			},
		)
	case s.Compute.Kind == topology.Lambda:
		function := map[string]*string{"FunctionName": jsii.String(t.ServiceStack(s.Name))}
		alarms = append(
			alarms,
			alarm{
				id: "Errors", name: s.Name + "-function-fails", metric: metric("AWS/Lambda", "Errors", "Sum", time.Minute, function), minutes: 5, runbook: "the-function-fails",
				about: "The function of " + s.Name + " ends in errors, its batches untouched: it can't start, or takes longer than it may. Its log says which.",
			},
			alarm{
				id: "Throttles", name: s.Name + "-function-throttled", metric: metric("AWS/Lambda", "Throttles", "Sum", time.Minute, function), minutes: 5, runbook: "the-function-fails",
				about: "Lambda throttles the function of " + s.Name + ": the account runs as many functions as it may.",
			},
		)
	}
	return newAlarms(stack, t, alarms)
}

// metricNamespace is that of metrics that are made of logs.
const metricNamespace = "Fanout"

// receiveErrors counts the lines of a consumer's log that say that a receive has failed.
func (t target) receiveErrors(s topology.Service) awscloudwatch.Metric {
	return metric(metricNamespace, t.ServiceStack(s.Name)+receiveAlarm, "Sum", time.Minute, map[string]*string{})
}

// countReceiveErrors makes that metric of the log.
func (t target) countReceiveErrors(log awslogs.LogGroup, s topology.Service) {
	log.AddMetricFilter(jsii.String("ReceiveErrors"), &awslogs.MetricFilterOptions{
		FilterPattern:   awslogs.FilterPattern_AnyTerm(jsii.String("receive failed")), // as package consumers logs it
		MetricNamespace: jsii.String(metricNamespace), MetricName: jsii.String(t.ServiceStack(s.Name) + receiveAlarm),
		MetricValue: jsii.String("1"), DefaultValue: jsii.Number(0),
	})
}
