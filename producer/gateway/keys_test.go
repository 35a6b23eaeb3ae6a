package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/producer/gateway"
)

func TestKeys_WhoIsLetIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{})
		name, secret, _ := strings.Cut(w.key, ".")
		for _, header := range []string{
			"", "Bearer", "Bearer ", "Bearer " + name, "Bearer " + name + ".", "Bearer " + secret, "Bearer other." + secret,
			"Bearer " + w.key + "x", "Bearer " + w.key[:len(w.key)-1], "Basic " + w.key, w.key,
		} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway/v1/events", strings.NewReader(power("a", "e")))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", oneEvent)
			request.Header.Set("Authorization", header)
			a := w.do(t, request)
			a.wantProblem(t, http.StatusUnauthorized, "unauthorized")
			if a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%q: got no WWW-Authenticate", header)
			}
		}
		if a := w.post(t, oneEvent, power("a", "e")); a.status != http.StatusAccepted {
			t.Errorf("the right key: got %d %s, want 202", a.status, a.body)
		}
		if text, err := os.ReadFile(w.keyFile); err != nil || strings.Contains(string(text), secret) {
			t.Errorf("the file of keys (%v) holds the secret", err)
		}
		w.stop()
	})
}

func TestKeys_AreConfinedToDevices(t *testing.T) {
	t.Parallel()
	key := gateway.Key{Devices: []string{"hall-*", "attic"}}
	for device, want := range map[string]bool{"hall-": true, "hall-7": true, "attic": true, "attic2": false, "hall": false, "": false} {
		if got := key.MayUse(device); got != want {
			t.Errorf("%q: got %v, want %v", device, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{})
		editKeys(t, w.keyFile, func(entry map[string]any) { entry["devices"] = []string{"hall-*"} })
		w.reload(t)
		if a := w.post(t, oneEvent, power("hall-7", "e")); a.status != http.StatusAccepted {
			t.Errorf("got %d %s, want 202", a.status, a.body)
		}
		w.post(t, oneEvent, power("attic-7", "e")).wantProblem(t, http.StatusForbidden, "forbidden-device")
		lines := w.post(t, ndjson, power("attic-7", "e")+"\n"+power("hall-7", "e")).lines(t)
		if lines[1].Status != http.StatusForbidden || lines[2].Status != http.StatusAccepted {
			t.Errorf("got %+v, want the first line refused only", lines)
		}
		w.stop()
	})
}

// A changed file takes effect while the gateway runs; one that can't be used changes nothing and is told once.
func TestKeys_AreWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{})
		var told []string
		ctx, cancel := context.WithCancel(t.Context())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			w.keys.Watch(ctx, 0, slog.New(onLog{slog.DiscardHandler, func(message string) { told = append(told, message) }}))
		}()
		status := func(key string) int {
			time.Sleep(5 * time.Second)
			return w.postAs(t, key, oneEvent, strings.NewReader(power("a", "e"))).status
		}
		second, err := gateway.AddKey(w.keyFile, "second")
		if err != nil {
			t.Fatal(err)
		}
		if a, b := status(w.key), status(second); a != 202 || b != 202 {
			t.Errorf("after a key was added: got %d and %d, want 202", a, b)
		}
		good, err := os.ReadFile(w.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(w.keyFile, []byte(`{"keys":[`), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := status(second); got != 202 {
			t.Errorf("with a broken file: got %d, want 202 as before", got)
		}
		if err := os.Remove(w.keyFile); err != nil {
			t.Fatal(err)
		}
		if got := status(second); got != 202 {
			t.Errorf("without a file: got %d, want 202 as before", got)
		}
		if err := os.WriteFile(w.keyFile, good, 0o600); err != nil {
			t.Fatal(err)
		}
		editKeys(t, w.keyFile, func(entry map[string]any) { entry["name"] = "renamed" })
		if got := status(w.key); got != http.StatusUnauthorized {
			t.Errorf("after a key was taken away: got %d, want 401", got)
		}
		cancel()
		<-watched
		want := "[keys reloaded" + strings.Repeat(" the changed file of keys cannot be used; the keys stay as they were", 2) + " keys reloaded]"
		if got := fmt.Sprint(told); got != want {
			t.Errorf("told: got %s, want %s", got, want)
		}
		w.stop()
	})
}

func TestKeys_LimitOfTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{Limit: gateway.Limit{PerSecond: 1}})
		editKeys(t, w.keyFile, func(entry map[string]any) { entry["per_second"], entry["burst"] = 3, 3 })
		w.reload(t)
		for i, want := range []int{202, 202, 202, 429} {
			if a := w.post(t, oneEvent, power("a", "e")); a.status != want {
				t.Errorf("request %d: got %d, want %d", i+1, a.status, want)
			}
		}
		w.stop()
	})
}

func TestNew_NamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := gateway.New(nil, nil, gateway.Config{
		MaxEventBytes: -1, Window: -1, Patience: -time.Second, Limit: gateway.Limit{PerSecond: -2},
	})
	for _, want := range []string{
		"publisher: got nil", "keys: got nil", "MaxEventBytes: got -1", "Window: got -1", "Patience: got -1s", "Limit: got -2 events per second",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	if k, err := gateway.LoadKeys(""); err == nil { // as from a variable that is not set
		_, in := k.Check("")
		t.Errorf("got keys from no file, which let everyone in: %v", in)
	} else if !strings.Contains(err.Error(), "got no path, want that of a file of keys") {
		t.Errorf("got %v", err)
	}
	if _, err := gateway.LoadKeys("nowhere.json"); !errors.Is(err, os.ErrNotExist) && (err == nil || !strings.Contains(err.Error(), "nowhere.json: no such file")) {
		t.Errorf("got %v, want one that names the file", err)
	}
}

// editKeys changes the first entry of a file of keys.
func editKeys(t *testing.T, path string, change func(entry map[string]any)) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := decode[map[string][]map[string]any](t, string(text))
	change(file["keys"][0])
	text, err = json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *world) reload(t *testing.T) {
	t.Helper()
	if changed, err := w.keys.Reload(); err != nil || !changed {
		t.Fatalf("reload: got %v, %v, want a change", changed, err)
	}
}
