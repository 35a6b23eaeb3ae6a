package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGatewayMQTT_DefaultClientID(t *testing.T) {
	t.Parallel()
	id := func(spool string) string {
		t.Helper()
		o := mqttOptions{}
		o.Broker = "tcp://127.0.0.1:1"
		cfg, err := o.config(spool)
		if err != nil {
			t.Fatal(err)
		}
		return cfg.ClientID
	}
	if id("a") != id("./a") || id("a") == id("b") || id("") == id("a") {
		t.Errorf("got %s, %s, %s, %s: want one for each spool, the same after a restart", id("a"), id("./a"), id("b"), id(""))
	}
	if len(id("a")) > 23 {
		t.Errorf("got %s, want at most 23 characters: a broker may refuse more", id("a"))
	}
}

func TestGatewayMQTT_RefusesBadCertificates(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		broker string
		o      mqttOptions
		want   string
	}{
		{"tcp://user:s3cret@127.0.0.1:1883", mqttOptions{ca: empty}, "is not encrypted"},
		{"ssl://127.0.0.1:8883", mqttOptions{ca: empty}, "has no certificate in PEM form"},
		{"ssl://127.0.0.1:8883", mqttOptions{ca: empty + "x"}, "--mqtt-ca: open " + empty + "x"},
		{"ssl://127.0.0.1:8883", mqttOptions{cert: empty}, "want both or none"},
		{"ssl://127.0.0.1:8883", mqttOptions{cert: empty, key: empty}, "--mqtt-cert: tls: failed to find any PEM data"},
	} {
		c.o.Broker = c.broker
		if _, err := c.o.config(""); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want an error with %q and no password", err, c.want)
		}
	}
}

// What is wrong with the flags for a broker is told before the gateway takes anything.
func TestGatewayMQTT_RefusesBadFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags string
		want  []string
	}{
		{"--mqtt-topic a/+", []string{"--mqtt-topic without --mqtt", "hint: --mqtt names"}},
		{"--mqtt-cert a.pem --mqtt-key b.pem", []string{"without --mqtt"}},
		{"--mqtt 127.0.0.1:1883", []string{"Broker: got a text that is no URL"}},
		{"--mqtt tcp://127.0.0.1:1 --mqtt-topic a/b", []string{`Topic: got "a/b", want a topic with one +`, "hint: Broker, Topic", "--mqtt-topic"}},
		{"--mqtt tcp://127.0.0.1:1 --mqtt-refusals devices/+/events", []string{`Refusals: got "devices/+/events"`}},
	} {
		args := append([]string{"gateway", "--no-keys", "--endpoint", "http://127.0.0.1:1"}, strings.Fields(c.flags)...)
		done := invoke(t, "", args...).want(t, exitUsage)
		contains(t, c.flags, done.stderr, c.want...)
	}
	none := invoke(t, "", "gateway", "--no-keys", "--addr", "127.0.0.1:0", "--endpoint", "http://127.0.0.1:1", "--mqtt=", "--mqtt-topic", "a/+").want(t, exitFailed)
	contains(t, "an empty --mqtt", none.stderr, "connection refused")
}
