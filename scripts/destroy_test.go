package scripts_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeCDK writes the stacks of feature-x: its topic, and the service history.
const fakeCDK = `#!/usr/bin/env python3
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
out.mkdir(parents=True, exist_ok=True)
def stack(name, depends, resources):
    (out / (name + ".json")).write_text(json.dumps({"Resources": resources}))
    return {"type": "aws:cloudformation:stack", "environment": "aws://unknown-account/eu-central-1", "dependencies": depends,
            "properties": {"stackName": name, "templateFile": name + ".json"}}
expires = [{"Key": "expires", "Value": "2020-01-01"}]
topic = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "feature-x-device-events.fifo", "Tags": expires}},
         "Parameter": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/fanout/feature-x/topic-arn"}}}
(out / "manifest.json").write_text(json.dumps({"artifacts": {
    "feature-x-device-events": stack("feature-x-device-events", [], topic),
    "feature-x-history": stack("feature-x-history", ["feature-x-device-events"], {})}}))
`

// fakeAWS answers from the file STATE, and writes down what would change something.
const fakeAWS = `#!/usr/bin/env python3
import json, os, sys
state = json.load(open(os.environ["STATE"]))
call, args = sys.argv[1] + " " + sys.argv[2], sys.argv[3:]
def arg(name):
    return args[args.index(name) + 1] if name in args else ""
def missing(text):
    sys.exit("An error occurred (" + text + ")")
stacks = [s for s in state["stacks"] if arg("--stack-name") in ("", s["StackName"])]
name = arg("--queue-name")
if call.split()[1] in ("delete-stack", "unsubscribe", "set-topic-attributes"):
    with open(os.environ["STATE"] + ".changes", "a") as log:
        log.write(" ".join([call.split()[1], arg("--stack-name") or arg("--subscription-arn") or arg("--topic-arn")]) + "\n")
    state["stacks"] = [s for s in state["stacks"] if call != "cloudformation delete-stack" or s["StackName"] != arg("--stack-name")]
    json.dump(state, open(os.environ["STATE"], "w"))
    sys.exit()
if call == "cloudformation describe-stacks" and not stacks and arg("--stack-name"):
    missing("ValidationError) does not exist")
if call == "cloudformation get-template" and stacks[0]["StackStatus"] == "REVIEW_IN_PROGRESS":
    missing("ValidationError) no template")
if call == "sqs get-queue-url" and name not in state["queues"]:
    missing("AWS.SimpleQueueService.NonExistentQueue")
print(json.dumps({
    "sts get-caller-identity": {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/anna"},
    "cloudformation describe-stacks": {"Stacks": stacks},
    "cloudformation get-template": {"TemplateBody": state.get("template", {})},
    "cloudformation list-stack-resources": {"StackResourceSummaries": [
        {"ResourceType": "AWS::SNS::Topic", "LogicalResourceId": "Topic", "PhysicalResourceId": "arn:aws:sns:eu-central-1:123456789012:feature-x-device-events.fifo"}]},
    "sns get-topic-attributes": {"Attributes": {"ArchivePolicy": "{\"MessageRetentionPeriod\":\"3\"}"}},
    "sns list-topics": {"Topics": [{"TopicArn": a} for a in state["topics"]]},
    "sns list-subscriptions": {"Subscriptions": state["subscriptions"]},
    "sns list-tags-for-resource": {"Tags": state["topics"].get(arg("--resource-arn"), [])},
    "sqs list-queues": {"QueueUrls": ["https://sqs/" + q for q in state["queues"] if q.startswith(arg("--queue-name-prefix"))]},
    "sqs list-queue-tags": {"Tags": state["queues"].get(arg("--queue-url").split("/")[-1], {})},
    "logs describe-log-groups": {"logGroups": []},
    "ssm get-parameters-by-path": {"Parameters": []},
    "resourcegroupstaggingapi get-resources": {"ResourceTagMappingList": state["tagged"]},
}.get(call, {})))
`

// destroy runs scripts/destroy feature-x in an account of this state, and gives what it changed and said.
func destroy(t *testing.T, state map[string]any) (changes []string, output string, err error) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not here, in which scripts/destroy is written")
	}
	root := t.TempDir()
	bin, file := filepath.Join(root, "node_modules", ".bin"), filepath.Join(root, "state")
	text, err := json.Marshal(state)
	for _, e := range []error{
		err, os.MkdirAll(bin, 0o700), os.WriteFile(file, text, 0o600),
		os.WriteFile(filepath.Join(bin, "cdk"), []byte(fakeCDK), 0o700), //nolint:gosec // they are run
		os.WriteFile(filepath.Join(bin, "aws"), []byte(fakeAWS), 0o700), //nolint:gosec // they are run
	} {
		if e != nil {
			t.Fatal(e)
		}
	}
	command := exec.CommandContext(t.Context(), "python3", "destroy", "feature-x")
	command.Env = append(os.Environ(), "FANOUT_ROOT="+root, "STATE="+file, "INFRA=none", "AWS_ENDPOINT_URL=", "PYTHONDONTWRITEBYTECODE=1")
	said, err := command.CombinedOutput()
	log, _ := os.ReadFile(file + ".changes")
	if text := strings.TrimSpace(string(log)); text != "" {
		changes = strings.Split(text, "\n")
	}
	return changes, string(said), err
}

func tagged(environment string) []map[string]string {
	return []map[string]string{{"Key": "environment", "Value": environment}}
}

func stack(name, environment, status string) map[string]any {
	s := map[string]any{"StackName": name, "StackStatus": status}
	if environment != "" {
		s["Tags"] = tagged(environment)
	}
	return s
}

func subscription(topic, endpoint string) map[string]string {
	return map[string]string{
		"SubscriptionArn": "arn:aws:sns:eu-central-1:123456789012:" + topic + ":to-" + endpoint[strings.LastIndex(endpoint, ":")+1:],
		"TopicArn":        "arn:aws:sns:eu-central-1:123456789012:" + topic, "Protocol": "sqs", "Endpoint": endpoint,
	}
}

// TestDestroy_LeavesOtherEnvironmentsAlone, also those whose names begin as its own does.
func TestDestroy_LeavesOtherEnvironmentsAlone(t *testing.T) {
	t.Parallel()
	const sns, sqs = "arn:aws:sns:eu-central-1:123456789012:", "arn:aws:sqs:eu-central-1:123456789012:"
	changes, said, err := destroy(t, map[string]any{
		"stacks": []any{
			stack("feature-x-device-events", "feature-x", "CREATE_COMPLETE"), stack("feature-x-history", "feature-x", "DELETE_FAILED"),
			stack("feature-x-old", "feature-x", "UPDATE_COMPLETE"), stack("feature-x-more", "", "REVIEW_IN_PROGRESS"),
			stack("feature-x-y-history", "feature-x-y", "UPDATE_IN_PROGRESS"), stack("feature-x2-history", "feature-x2", "CREATE_COMPLETE"),
		},
		"topics": map[string]any{
			sns + "feature-x-y-device-events.fifo": tagged("feature-x-y"), sns + "feature-x2-device-events.fifo": tagged("feature-x2"),
		},
		"queues": map[string]any{"feature-x-y-push.fifo": map[string]string{"environment": "feature-x-y"}, "feature-x2-push.fifo": map[string]string{"environment": "feature-x2"}},
		"subscriptions": []any{
			subscription("feature-x-device-events.fifo", sqs+"feature-x-old.fifo"),
			subscription("feature-x-y-device-events.fifo", sqs+"feature-x-y-history.fifo"), // whose queue is made anew at the moment
			subscription("feature-x-y-device-events.fifo", sqs+"feature-x-y-push.fifo"),
			subscription("feature-x2-device-events.fifo", sqs+"feature-x2-history.fifo"),
		},
		"tagged": []any{map[string]any{ // of another topology, which has an environment of this name, too
			"ResourceARN": "arn:aws:sqs:eu-central-1:123456789012:shop-feature-x-history.fifo",
			"Tags":        []map[string]string{{"Key": "aws:cloudformation:stack-name", "Value": "shop-feature-x-history"}},
		}},
	})
	want := []string{
		"set-topic-attributes arn:aws:sns:eu-central-1:123456789012:feature-x-device-events.fifo", "delete-stack feature-x-old", // before what it may depend on
		"set-topic-attributes arn:aws:sns:eu-central-1:123456789012:feature-x-device-events.fifo", "delete-stack feature-x-history",
		"set-topic-attributes arn:aws:sns:eu-central-1:123456789012:feature-x-device-events.fifo", "delete-stack feature-x-device-events",
		"unsubscribe " + sns + "feature-x-device-events.fifo:to-feature-x-old.fifo",
	}
	if !slices.Equal(changes, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(changes, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(said, "feature-x-y") || strings.Contains(said, "shop") || strings.Contains(said, "feature-x2") {
		t.Errorf("it speaks of other environments:\n%s", said)
	}
	if !strings.Contains(said, "left: subscription feature-x-old.fifo") || err == nil { // the list still has it
		t.Errorf("got %v, want it to say what is left:\n%s", err, said)
	}
}

// TestDestroy_ChangesNothingDuringADeployment: no archive goes before CloudFormation says that a stack can't be deleted.
func TestDestroy_ChangesNothingDuringADeployment(t *testing.T) {
	t.Parallel()
	for status, refused := range map[string]bool{"UPDATE_IN_PROGRESS": true, "CREATE_IN_PROGRESS": true, "UPDATE_ROLLBACK_IN_PROGRESS": true, "REVIEW_IN_PROGRESS": false, "DELETE_FAILED": false} {
		changes, said, err := destroy(t, map[string]any{
			"stacks": []any{stack("feature-x-device-events", "feature-x", status)}, "topics": map[string]any{}, "queues": map[string]any{}, "subscriptions": []any{}, "tagged": []any{},
		})
		if refused && (len(changes) > 0 || err == nil || !strings.Contains(said, "a deployment is under way")) || !refused && (len(changes) != 2 || err != nil) {
			t.Errorf("%s: got %v, %q\n%s", status, err, changes, said)
		}
	}
}

// TestDestroy_ATopicThatStaysKeepsItsArchive: only one that goes with its stack has to lose it.
func TestDestroy_ATopicThatStaysKeepsItsArchive(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]int{"RetainExceptOnCreate": 1, "Retain": 1, "Delete": 2} {
		changes, said, err := destroy(t, map[string]any{
			"stacks": []any{stack("feature-x-device-events", "feature-x", "CREATE_COMPLETE")}, "topics": map[string]any{}, "queues": map[string]any{}, "subscriptions": []any{}, "tagged": []any{},
			"template": map[string]any{"Resources": map[string]any{"Topic": map[string]string{"Type": "AWS::SNS::Topic", "DeletionPolicy": policy}}},
		})
		if err != nil || len(changes) != want || changes[want-1] != "delete-stack feature-x-device-events" {
			t.Errorf("%s: got %q, %v, want %d changes\n%s", policy, changes, err, want, said)
		}
	}
}
