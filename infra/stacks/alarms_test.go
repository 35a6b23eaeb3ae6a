//go:build !race

package stacks

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

// watches are the metrics that an alarm looks at, each as name and dimension.
func watches(a resource) (all []string) {
	metric := func(name string, dimensions any) {
		list, _ := dimensions.([]any)
		for _, d := range list {
			all = append(all, name+" of "+fmt.Sprint(d.(map[string]any)["Value"]))
		}
	}
	if a.text("MetricName") != "" {
		metric(a.text("MetricName"), a.at("Dimensions"))
	}
	for _, m := range a.list("Metrics") {
		r := resource{properties: m.(map[string]any)}
		metric(r.text("MetricStat", "Metric", "MetricName"), r.at("MetricStat", "Metric", "Dimensions"))
	}
	return all
}

func TestAlarms_WatchEveryQueueAndSpeak(t *testing.T) {
	for _, name := range []string{"dev", "test", "prod"} {
		d := environment(t, name)
		watched := map[string]bool{}
		for _, a := range d.resources("AWS::CloudWatch::Alarm") {
			if to := a.text("AlarmActions"); !strings.HasSuffix(to, ":"+d.AlarmTopicName()+"]") || a.text("OKActions") != to {
				t.Errorf("%s speaks to %s, want the alarm topic, also when all is well", a.text("AlarmName"), to)
			}
			if silent := strings.HasSuffix(a.text("AlarmName"), "-silent"); (a.text("TreatMissingData") == "breaching") != silent {
				t.Errorf("%s: missing data is %s", a.text("AlarmName"), a.text("TreatMissingData"))
			}
			for _, metric := range watches(a) {
				watched[metric] = true
			}
		}
		var want []string
		for _, s := range d.Services {
			queue := d.QueueName(s.Name)
			want = append(want, "ApproximateAgeOfOldestMessage of "+queue, "ApproximateNumberOfMessagesNotVisible of "+queue)
			for _, dlq := range []string{d.DLQName(s.Name), d.DeliveryDLQName(s.Name)} {
				want = append(want, "NumberOfMessagesSent of "+dlq, "ApproximateNumberOfMessagesVisible of "+dlq, "ApproximateNumberOfMessagesNotVisible of "+dlq, "ApproximateAgeOfOldestMessage of "+dlq)
			}
			age := d.named(t, "AWS::CloudWatch::Alarm", "AlarmName", name+"-"+s.Name+"-too-old")
			if age.seconds("Threshold", 0) != s.MaxAge.Seconds() {
				t.Errorf("%s: age above %v s, want %v", s.Name, age.at("Threshold"), s.MaxAge)
			}
			expires := d.named(t, "AWS::CloudWatch::Alarm", "AlarmName", name+"-"+s.Name+"-expires")
			if expires.seconds("Threshold", 0) != 0.75*s.Retention.Seconds() {
				t.Errorf("%s: close to its retention above %v s", s.Name, expires.at("Threshold"))
			}
			if watched["NumberOfMessagesSent of "+queue] {
				t.Errorf("the silence of %s is watched, and it has not asked for that", s.Name)
			}
		}
		for _, metric := range []string{"NumberOfNotificationsFailed", "NumberOfNotificationsFailedToRedriveToDlq", "NumberOfNotificationsFilteredOut-NoMessageAttributes", "NumberOfMessagesPublished"} {
			want = append(want, metric+" of "+d.TopicName())
		}
		for _, metric := range want {
			if !watched[metric] {
				t.Errorf("%s: nothing watches the %s", name, metric)
			}
		}
	}
	if got := environment(t, "feature-x").resources("AWS::CloudWatch::Alarm"); len(got) > 0 {
		t.Errorf("a throw-away environment has %d alarms", len(got))
	}
	if got := environment(t, "feature-x").resources("AWS::CloudWatch::Dashboard"); len(got) > 0 {
		t.Errorf("a throw-away environment has %d dashboards", len(got))
	}
}

// TestAlarms_SayWhatToDo: each names a section of the guide that is there.
func TestAlarms_SayWhatToDo(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guides/on-call.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(guide), -1) {
		sections[strings.NewReplacer(" ", "-", "'", "").Replace(strings.ToLower(heading[1]))] = true
	}
	names := 0
	for _, d := range []deployed{environment(t, "prod"), withCompute(t), withEverything(t)} {
		for _, a := range d.resources("AWS::CloudWatch::Alarm") {
			about := a.text("AlarmDescription")
			_, section, linked := strings.Cut(about, defaultRunbook+"#")
			if names++; !linked || !sections[section] {
				t.Errorf("%s: got %q, want it to end with a section of the guide", a.text("AlarmName"), about)
			}
		}
	}
	if names < 30 {
		t.Errorf("got %d alarms in all", names)
	}
}

func TestAlarms_SilenceIsAskedFor(t *testing.T) {
	top := declaration.Topology()
	top.Services[0].MaxSilence = time.Hour
	d := synthesize(t, top, "env=prod")
	silent := d.named(t, "AWS::CloudWatch::Alarm", "AlarmName", "prod-history-silent")
	if got := watches(silent); !slices.Equal(got, []string{"NumberOfMessagesSent of prod-history.fifo"}) || silent.seconds("Period", 0) != 3600 {
		t.Errorf("got %q every %v s", got, silent.at("Period"))
	}
}

func TestAlarms_KnowTheQuotaOfTheRegion(t *testing.T) {
	for region, want := range map[string]float64{"us-east-1": 30_000, "eu-west-1": 9_000, "eu-central-1": 3_000, "": 3_000} {
		top := declaration.Topology()
		top.Environments[0].Region = region
		quota := synthesize(t, top, "env=dev").named(t, "AWS::CloudWatch::Alarm", "AlarmName", "dev-topic-near-quota")
		if got := quota.seconds("Threshold", 0); got != want*60*0.8 {
			t.Errorf("%s: alarm above %v messages a minute, want 80 %% of %v a second", region, got, want)
		}
	}
}

// TestAlarms_RollADeploymentBack: ECS looks at the alarms that say a release is wrong, which are there before it.
func TestAlarms_RollADeploymentBack(t *testing.T) {
	d := withCompute(t)
	service := d.named(t, "AWS::ECS::Service", "ServiceName", "prod-history")
	if got, want := service.text("DeploymentConfiguration", "Alarms"), "map[AlarmNames:[prod-history-dead-letters prod-history-receive-fails prod-history-too-old] Enable:true Rollback:true]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	filter := d.resources("AWS::Logs::MetricFilter")[0]
	transformation := resource{properties: filter.list("MetricTransformations")[0].(map[string]any)}
	alarm := d.named(t, "AWS::CloudWatch::Alarm", "AlarmName", "prod-history-receive-fails")
	if alarm.text("MetricName") != transformation.text("MetricName") || alarm.text("Namespace") != transformation.text("MetricNamespace") {
		t.Errorf("the alarm watches %s, the log counts %s", alarm.text("MetricName"), transformation.text("MetricName"))
	}
	if _, ok := d.templates["prod-history"]; !ok || !strings.Contains(d.text["prod-history"], "DLQAlarm") {
		t.Error("no alarm of dead letters")
	}
	quiet := computeTopology()
	quiet.Environments[0].Compute, quiet.Environments[0].Network, quiet.Environments[0].Watch = topology.Smallest, quiet.Environments[2].Network, topology.WatchNothing
	unwatched := synthesize(t, quiet, "env=dev", imageTag)
	if got := unwatched.named(t, "AWS::ECS::Service", "ServiceName", "dev-history").at("DeploymentConfiguration", "Alarms"); got != nil {
		t.Errorf("an environment without alarms: got %v", got)
	}
}
