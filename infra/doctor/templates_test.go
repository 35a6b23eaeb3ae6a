package doctor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

// TestJudge_WantsWhatTheTemplatesDeclare: what package provision does not say of an environment, doctor says itself: its stacks, encryption,
// archive and TLS. The synthesized templates are in the testdata of package stacks.
func TestJudge_WantsWhatTheTemplatesDeclare(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dev", "test", "prod", "feature-x"} {
		d, err := declaration.Topology().In(name)
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join("..", "stacks", "testdata", name, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		var stacks []string
		for _, file := range files {
			stacks = append(stacks, strings.TrimSuffix(filepath.Base(file), ".json"))
			checkTemplate(t, d, file)
		}
		if want := slices.Sorted(slices.Values(declaredStacks(d))); !slices.Equal(stacks, want) {
			t.Errorf("%s: doctor wants the stacks %q, the templates are %q", name, want, stacks)
		}
	}
}

func checkTemplate(t *testing.T, d topology.Deployment, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	customer := d.Environment.Encryption == topology.CustomerKey
	for id, r := range template.Resources {
		p := r.Properties
		switch r.Type {
		case "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy":
			document, _ := json.Marshal(p["PolicyDocument"])
			list := statements(string(document))
			if alarms := strings.HasSuffix(file, "-operations.json"); !alarms && !slices.ContainsFunc(list, statement.wantsTLS) {
				t.Errorf("%s: %s: doctor sees no TLS in %s", file, id, document)
			}
		case "AWS::SQS::Queue":
			if key := p["KmsMasterKeyId"] != nil; key != customer || !customer && p["SqsManagedSseEnabled"] != true {
				t.Errorf("%s: %s: doctor wants a key: %t, got %v", file, id, customer, p)
			}
			if customer && fmt.Sprint(p["KmsDataKeyReusePeriodSeconds"]) != keyReuse {
				t.Errorf("%s: %s: doctor wants data keys for %s s, got %v", file, id, keyReuse, p)
			}
		case "AWS::SNS::Topic":
			if strings.HasSuffix(file, "-operations.json") {
				continue
			}
			archive, _ := json.Marshal(p["ArchivePolicy"])
			if p["ArchivePolicy"] == nil {
				archive = nil
			}
			if key := p["KmsMasterKeyId"] != nil; key != customer || !same(string(archive), archivePolicy(d)) {
				t.Errorf("%s: %s: doctor wants a key: %t, and the archive %q, got %v", file, id, customer, archivePolicy(d), p)
			}
		}
	}
}

// TestWorks_AreAllowedByTheirPolicies: what doctor finds missing is in the managed policy that it says to attach.
func TestWorks_AreAllowedByTheirPolicies(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "stacks", "testdata", "dev", "dev-operations.json"))
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties struct {
				PolicyDocument json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	allowed := map[string][]string{}
	for id, r := range template.Resources {
		for policy, prefix := range map[string]string{"on-call": "OnCall", "redrive-operator": "RedriveOperator"} {
			if r.Type == "AWS::IAM::ManagedPolicy" && strings.HasPrefix(id, prefix) {
				for _, s := range statements(string(r.Properties.PolicyDocument)) {
					allowed[policy] = append(allowed[policy], s.Action...)
				}
			}
		}
	}
	d, err := declaration.Topology().In("dev")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range works(d, provision.Place{}) {
		for _, n := range w.needs {
			for _, action := range n.actions {
				if !slices.Contains(allowed[w.policy], action) {
					t.Errorf("%s takes %s, which the policy %s does not allow: %q", w.name, action, w.policy, allowed[w.policy])
				}
			}
		}
	}
}
