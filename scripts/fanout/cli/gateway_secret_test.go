package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/internal/secrettest"
)

// TestGateway_KeysInASecret: made by one command, known to another, and shown by none but the one that has made it.
func TestGateway_KeysInASecret(t *testing.T) { // not parallel: it sets the environment
	_, endpoint := localEngine(t)
	var secrets secrettest.Store
	secrets.Put("dev/gateway-keys", `{"keys":[]}`)
	server := httptest.NewServer(&secrets)
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.URL)
	key := strings.TrimSpace(invoke(t, "", "gateway", "key", "hall", "--endpoint", endpoint, "--secret", "dev/gateway-keys").want(t, exitOK).stdout)
	name, word, _ := strings.Cut(key, ".")
	if text := secrets.Text("dev/gateway-keys"); name != "hall" || !strings.Contains(text, `"hall"`) || strings.Contains(text, word) {
		t.Errorf("key %q, secret %q: want the name in it, and the hash only", key, text)
	}
	gw := background(t, nil, "gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--keys-secret", "dev/gateway-keys")
	address := gw.stderr.find(t, `gateway on (\S+)`)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	const event = `{"device_id":"lamp-7","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`
	if !postOne(client, address, key, event) {
		t.Errorf("the key of the secret is not let in; log:\n%s", gw.stderr)
	}
	if postOne(client, address, "hall.guessed", event) {
		t.Error("another key is let in")
	}
	gw.interrupt()
	if done := gw.wait(t).want(t, exitOK); strings.Contains(done.stderr, word) {
		t.Errorf("the log shows the key:\n%s", done.stderr)
	}

	secrets.Put("password", "very-secret")
	for secret, want := range map[string]string{"password": "near line 1", "none": "can't find"} {
		done := invoke(t, "", "gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--keys-secret", secret).want(t, exitFailed)
		if contains(t, "stderr", done.stderr, want, secret, "--secret SECRET"); strings.Contains(done.stderr, "very-secret") {
			t.Errorf("stderr shows the secret:\n%s", done.stderr)
		}
		invoke(t, "", "gateway", "key", "hall", "--endpoint", endpoint, "--secret", secret).want(t, exitFailed)
	}
	invoke(t, "", "gateway", "--addr", "127.0.0.1:0", "--keys-secret", "keys", "--no-keys").want(t, exitUsage)
	invoke(t, "", "gateway", "--addr", "127.0.0.1:0", "--keys-secret", "keys", "--keys", "keys.json").want(t, exitUsage)
	invoke(t, "", "gateway", "key", "hall", "--secret", "keys", "--file", "keys.json").want(t, exitUsage)
}
