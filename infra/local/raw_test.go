package local_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// answer is an HTTP answer, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends an HTTP request without any SDK.
func (w *world) do(method, target, contentType, body string, headers ...string) answer {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, "http://127.0.0.1:4566"+target, strings.NewReader(body))
	w.must(err)
	r.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.http.Do(r)
	w.must(err)
	defer func() { w.must(resp.Body.Close()) }()
	read, err := io.ReadAll(resp.Body)
	w.must(err)
	return answer{resp.StatusCode, resp.Header, string(read)}
}

// json sends an SQS request in the JSON protocol.
func (w *world) json(action, body string) answer {
	w.Helper()
	return w.do(http.MethodPost, "/", "application/x-amz-json-1.0", body, "X-Amz-Target", "AmazonSQS."+action)
}

// form sends a request in the Query protocol.
func (w *world) form(target string, values ...string) answer {
	w.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(values); i += 2 {
		form.Set(values[i], values[i+1])
	}
	return w.do(http.MethodPost, target, "application/x-www-form-urlencoded", form.Encode())
}

// receiveNow receives with a visibility timeout of 0, which the SDK does not send, and returns the bodies.
func (w *world) receiveNow(queueURL string) []string {
	w.Helper()
	a := w.json("ReceiveMessage", `{"QueueUrl":"`+queueURL+`","MaxNumberOfMessages":10,"VisibilityTimeout":0}`)
	var out struct{ Messages []struct{ Body string } }
	w.must(json.Unmarshal([]byte(a.body), &out))
	bodies := []string{}
	for _, m := range out.Messages {
		bodies = append(bodies, m.Body)
	}
	return bodies
}
