package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReady_TellsByItsExitCode(t *testing.T) {
	t.Parallel()
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte("draining"))
	}))
	defer server.Close()
	ask := func(url string) (int, string) {
		var out, errs bytes.Buffer
		return Run(t.Context(), testApp(), []string{"ready", url}, strings.NewReader(""), &out, &errs), errs.String()
	}
	if got, errs := ask(server.URL + "/readyz"); got != 0 {
		t.Errorf("ready: got %d, %s", got, errs)
	}
	code = http.StatusServiceUnavailable
	if got, errs := ask(server.URL + "/readyz"); got != 1 || !strings.Contains(errs, "503 Service Unavailable: draining") {
		t.Errorf("draining: got %d, %s", got, errs)
	}
	server.Close()
	if got, errs := ask(server.URL + "/readyz"); got != 1 || !strings.Contains(errs, "not ready") {
		t.Errorf("gone: got %d, %s", got, errs)
	}
}
