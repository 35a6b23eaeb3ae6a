package local_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
)

var errLost = io.ErrUnexpectedEOF

// listening is an engine behind a socket and a client of it, in real time.
func listening(t *testing.T) (*local.Engine, string, *sqs.Client) {
	t.Helper()
	e := local.New(local.Options{})
	url, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
	})
	cfg := e.Config()
	cfg.BaseEndpoint, cfg.HTTPClient = &url, &http.Client{Transport: transport}
	return e, url, sqs.NewFromConfig(cfg)
}

func TestListen_QueueURLsHaveTheHostThatTheClientUsed(t *testing.T) {
	t.Parallel()
	_, url, client := listening(t)
	out, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *out.QueueUrl, url+"/000000000000/q"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestListen_CloseEndsLongPollsWithAnEmptyAnswer(t *testing.T) {
	t.Parallel()
	e, _, client := listening(t)
	q, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	if err != nil {
		t.Fatal(err)
	}
	var polls sync.WaitGroup
	for range 10 {
		polls.Go(func() {
			out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, WaitTimeSeconds: 20})
			if err != nil || len(out.Messages) != 0 {
				t.Errorf("got %v, %v, want an empty answer", out, err)
			}
		})
	}
	for e.Queues()[0].Waiting < 10 {
		time.Sleep(time.Millisecond) // sockets are beyond synctest; this waits for a state, not for a time
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	polls.Wait()
	if _, err := e.Listen("127.0.0.1:0"); !errors.Is(err, local.ErrClosed) {
		t.Errorf("got error %v, want ErrClosed", err)
	}
}

func TestListen_AClientThatGoesAwayTakesItsPollWithIt(t *testing.T) {
	t.Parallel()
	e, url, client := listening(t)
	if _, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")}); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"QueueUrl":"q","WaitTimeSeconds":20}`
	request := "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\nContent-Length: 37\r\n\r\n" + body
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	for e.Queues()[0].Waiting != 1 {
		time.Sleep(time.Millisecond)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	for e.Queues()[0].Waiting != 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestListen_ADroppedReplyIsABrokenConnection(t *testing.T) {
	t.Parallel()
	e, url, client := listening(t)
	if _, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")}); err != nil {
		t.Fatal(err)
	}
	e.Faults().Add(faults.Rule{Kind: faults.DropReply, Count: 1})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"QueueUrl":"q","MessageBody":"m"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
	transport := &http.Transport{DisableKeepAlives: true}
	if resp, err := transport.RoundTrip(r); err == nil {
		t.Errorf("got status %s, want an error", resp.Status)
		_ = resp.Body.Close()
	}
	if got := e.Queues()[0].Visible; got != 1 {
		t.Errorf("the queue has %d messages, want 1", got)
	}
}

func TestListen_ACutOffBodyIsRefused(t *testing.T) {
	t.Parallel()
	_, url, _ := listening(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(answer); !strings.HasPrefix(got, "HTTP/1.1 400") || !strings.Contains(got, "SerializationException") {
		t.Errorf("got %s", got)
	}
	_ = conn.Close()
}

func TestListen_StaysOnLoopbackUnlessToldOutright(t *testing.T) {
	t.Parallel()
	for addr, beyond := range map[string]bool{"127.0.0.1:0": false, ":0": false, "localhost:0": false, "0.0.0.0:0": true} {
		for _, exposed := range []bool{false, true} {
			var log bytes.Buffer
			e := local.New(local.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Exposed: exposed})
			_, err := e.Listen(addr)
			if refused := beyond && !exposed; (err != nil) != refused {
				t.Errorf("%s, exposed %t: got %v, want refused %t", addr, exposed, err, refused)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if got, want := strings.Contains(log.String(), "reachable from the network"), beyond && exposed; got != want {
				t.Errorf("%s, exposed %t: warned %t, want %t", addr, exposed, got, want)
			}
		}
	}
}

// What AWS clients send is taken; what a page sends through the browser of its visitor is not, whatever the method.
func TestListen_TakesNothingFromWebPages(t *testing.T) {
	t.Parallel()
	e, url, client := listening(t)
	out, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: out.QueueUrl, MessageBody: aws.String("m")}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		host   string
		header http.Header
		want   int
	}{
		"an image":       {"", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}}, 403},
		"a script":       {"", http.Header{"Origin": {"https://evil.example"}}, 403},
		"a link":         {"", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}, 403},
		"DNS rebinding":  {"evil.example", nil, 421},
		"somebody there": {"", nil, 200},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/?Action=ListQueues", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.want != 200 {
			r.URL.RawQuery = "Action=PurgeQueue&QueueUrl=" + *out.QueueUrl
		}
		r.Host, r.Header = c.host, c.header
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != c.want {
			t.Errorf("%s: got %d, want %d", name, answer.StatusCode, c.want)
		}
	}
	if got := e.Queues()[0].Visible; got != 1 {
		t.Errorf("the queue has %d messages, want 1", got)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestListen_AnAddressInUseIsAnError(t *testing.T) {
	t.Parallel()
	_, url, _ := listening(t)
	e := local.New(local.Options{})
	addr := strings.TrimPrefix(url, "http://")
	if _, err := e.Listen(addr); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("got error %v, want one that names %s", err, addr)
	}
	if _, err := e.Listen("nonsense"); err == nil {
		t.Error("an address without port was taken")
	}
}
