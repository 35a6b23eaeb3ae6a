package before_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
	_ "github.com/device-fanout/fanout/events/device" // the types of the events in testdata
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/producer/gateway"
)

// read returns a file of testdata.
func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// lines returns the lines of a file of testdata.
func lines(t *testing.T, name string) [][]byte {
	t.Helper()
	list := bytes.Split(bytes.TrimSuffix(read(t, name), []byte("\n")), []byte("\n"))
	if len(list) < 2 {
		t.Fatalf("%s has %d lines, want more", name, len(list))
	}
	return list
}

// unpack copies a folder out of an archive in testdata, so that the test may write to it.
func unpack(t *testing.T, name, folder string) string {
	t.Helper()
	archive, err := zip.OpenReader(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	inside, err := fs.Sub(archive, folder)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, inside); err != nil {
		t.Fatal(err)
	}
	return dir
}

func decodeJSON(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// sameJSON tells whether two texts are the same JSON value.
func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	decodeJSON(t, a, &x)
	decodeJSON(t, b, &y)
	return reflect.DeepEqual(x, y)
}

// event decodes an event on the wire.
func event(t *testing.T, body []byte) events.Event {
	t.Helper()
	e, err := events.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// kept are the events that the databases hold, in the order in which they were handled.
func kept(t *testing.T) []events.Event {
	t.Helper()
	var list []events.Event
	for _, line := range lines(t, "events.ndjson") {
		list = append(list, event(t, line))
	}
	return list
}

// The texts that clients have, for the two keys in the file.
const (
	hallKey  = "hall.2wolWEA-SJsRmL5n9tK7mSYxMx8Q1UPxCtqTHUkKQdU"
	atticKey = "attic.5_2HcUmwL-H1tv1VjAro2_K9xmiqTGwTAMILivDkFxk"
)

func TestKeys_LetClientsIn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, read(t, "keys.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := gateway.LoadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	added, err := gateway.AddKey(path, "cellar")
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := keys.Reload(); err != nil || !changed {
		t.Fatalf("reload: got %t, %v", changed, err)
	}
	hall, ok := keys.Check(hallKey)
	if !ok || hall.Name != "hall" || !hall.MayUse("any device") || hall.Source != "" || hall.Limit != (gateway.Limit{}) {
		t.Errorf("key hall: got %+v, %t", hall, ok)
	}
	attic, ok := keys.Check(atticKey)
	limit := gateway.Limit{PerSecond: 100, Burst: 200, PerDevicePerSecond: 5.5, PerDeviceBurst: 10}
	if !ok || attic.Source != "/gateways/attic" || attic.Limit != limit {
		t.Errorf("key attic: got %+v, %t", attic, ok)
	}
	for device, want := range map[string]bool{"attic/sensor-1": true, "porch-door": true, "porch-door-2": false, "hall-lamp": false} {
		if got := attic.MayUse(device); got != want {
			t.Errorf("key attic, device %s: got %t, want %t", device, got, want)
		}
	}
	if _, ok := keys.Check(added); !ok {
		t.Error("a key that was added to the file is refused")
	}
	for _, wrong := range []string{hallKey + "x", "attic" + strings.TrimPrefix(hallKey, "hall"), "hall."} {
		if _, ok := keys.Check(wrong); ok {
			t.Errorf("%q is let in", wrong)
		}
	}
}

func TestEnvironments_MeanTheSame(t *testing.T) {
	t.Parallel()
	got, err := topology.ParseEnvironments(read(t, "environments.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := []topology.Environment{
		{Name: "dev", WaitTime: 2 * time.Second},
		{Name: "test", Encryption: topology.CustomerKey},
		{
			Name: "prod", Production: true, Account: "111122223333", Region: "eu-central-1", Encryption: topology.CustomerKey,
			ArchiveDays: 14, AlarmTarget: "on-call@example.com", MaxSilence: 15 * time.Minute,
		},
		{Name: "feature-*", WaitTime: 2 * time.Second},
		{
			Name: "plant-7", Production: true, Account: "444455556666", Region: "us-west-2", Encryption: topology.SQSManaged,
			WaitTime: 20 * time.Second, ArchiveDays: 365, AlarmTarget: "https://alarms.example.com/hook", MaxSilence: 90 * time.Minute,
			Network: topology.Network{
				VPC: "vpc-0a1b2c3d4e5f67890", AvailabilityZones: []string{"us-west-2a", "us-west-2b"},
				Subnets: []string{"subnet-0a1b2c3d4e5f67890", "subnet-0a1b2c3d4e5f67891"},
			},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	declared := declaration.Topology()
	declared.Environments = got
	if err := declared.Validate(); err != nil {
		t.Error(err)
	}
}

func TestRules_MeanTheSame(t *testing.T) {
	t.Parallel()
	got, err := deadletter.ParseRules(bufio.NewReader(bytes.NewReader(read(t, "rules.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	want := []deadletter.Rule{
		{Filter: deadletter.Filter{Code: "timeout"}, After: 10 * time.Minute, Times: 3},
		{
			Service: "history", After: time.Minute, Times: 5,
			Filter: deadletter.Filter{Class: deadletter.Exhausted, Text: "connection refused", Device: "attic/sensor-1", Type: "device.motion.changed.v1"},
		},
		{Leave: true, Filter: deadletter.Filter{Fingerprint: "5a4e7c9d"}},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
