package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// maxQueries is how many metrics one request reads.
const maxQueries = 500

// metrics reads the age of the oldest message of every queue that holds one, and how many were visible an hour ago.
func (l *look) metrics(ctx context.Context) {
	var queries []cwtypes.MetricDataQuery
	names := slices.Sorted(maps.Keys(l.o.Queues))
	for i, name := range names {
		if l.o.Queues[name].messages() == 0 {
			continue
		}
		for id, metric := range map[string]string{"age": "ApproximateAgeOfOldestMessage", "depth": "ApproximateNumberOfMessagesVisible"} {
			queries = append(queries, cwtypes.MetricDataQuery{
				Id: aws.String(fmt.Sprintf("%s%d", id, i)),
				MetricStat: &cwtypes.MetricStat{
					Metric: &cwtypes.Metric{
						Namespace: aws.String("AWS/SQS"), MetricName: &metric,
						Dimensions: []cwtypes.Dimension{{Name: aws.String("QueueName"), Value: &name}},
					},
					Period: aws.Int32(300), Stat: aws.String("Maximum"),
				},
			})
		}
	}
	now := time.Now()
	for some := range slices.Chunk(queries, maxQueries) {
		in := cloudwatch.GetMetricDataInput{
			StartTime: aws.Time(now.Add(-time.Hour)), EndTime: &now, MetricDataQueries: some, ScanBy: cwtypes.ScanByTimestampDescending,
		}
		for pages := cloudwatch.NewGetMetricDataPaginator(l.CloudWatch, &in); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				l.unseen("age", "cloudwatch:GetMetricData", err)
				return
			}
			for _, r := range page.MetricDataResults {
				l.metric(names, r, now)
			}
		}
	}
}

// metric takes over one metric, the newest value first.
func (l *look) metric(names []string, r cwtypes.MetricDataResult, now time.Time) {
	if len(r.Values) == 0 || len(r.Timestamps) != len(r.Values) {
		return
	}
	var i int
	id := aws.ToString(r.Id)
	if _, err := fmt.Sscanf(strings.TrimLeft(id, "agedpth"), "%d", &i); err != nil || i < 0 || i >= len(names) {
		return
	}
	q := l.o.Queues[names[i]]
	oldest := len(r.Values) - 1
	switch {
	case strings.HasPrefix(id, "age"):
		if now.Sub(r.Timestamps[0]) < 20*time.Minute { // an idle queue has none
			q.Age = time.Duration(r.Values[0]) * time.Second
		}
	case now.Sub(r.Timestamps[oldest]) > 50*time.Minute:
		q.HourAgo = int(r.Values[oldest])
	}
	l.o.Queues[names[i]] = q
}
