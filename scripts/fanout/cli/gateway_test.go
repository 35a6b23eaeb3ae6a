package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

const topicOfDev = "arn:aws:sns:eu-central-1:000000000000:dev-device-events.fifo"

// trouble makes the engine throttle and lose replies, as on a bad day.
func trouble(engine *local.Engine) {
	engine.Faults().Add(faults.Rule{Kind: faults.Throttle, Action: "PublishBatch", Probability: 0.05, Seed: 1})
	engine.Faults().Add(faults.Rule{Kind: faults.DropReply, Action: "PublishBatch", Probability: 0.01, Seed: 2})
}

// takeDelivered takes what is in the history queue: the IDs of every device's events, in their order.
func takeDelivered(t *testing.T, engine *local.Engine, into map[string][]string) {
	t.Helper()
	api := engine.SQS()
	url := queueURL(t, engine, "dev-history.fifo")
	waitless(t, engine, url)
	for {
		out, err := api.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return
		}
		for _, m := range out.Messages {
			var event struct{ ID, Subject string }
			if err := json.Unmarshal([]byte(aws.ToString(m.Body)), &event); err != nil {
				t.Fatal(err)
			}
			into[event.Subject] = append(into[event.Subject], event.ID)
			if _, err := api.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// However often the gateway is killed, what it has answered with 202 reaches the queue, in the order of every device.
func TestGateway_KilledTenTimesUnderLoad(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills and starts the program many times; run without -short")
	}
	engine, endpoint := localEngine(t)
	trouble(engine)
	engine.Faults().Add(faults.Rule{Kind: faults.Delay, Action: "PublishBatch", Delay: 20 * time.Millisecond}) // so that much waits in the spool
	folder := t.TempDir()
	keys := filepath.Join(folder, "keys.json")
	key := strings.TrimSpace(invoke(t, "", "gateway", "key", "test", "--file", keys).want(t, exitOK).stdout)

	var address atomic.Pointer[string]
	var accepted atomic.Int64
	loading, stop := context.WithCancel(t.Context())
	defer stop()
	const devices = 12
	sent := make([][]string, devices) // by device: IDs in the order in which they were answered with 202
	var clients sync.WaitGroup
	for d := range devices {
		client := &http.Client{Transport: &http.Transport{}}
		clients.Go(func() {
			defer client.CloseIdleConnections()
			for loading.Err() == nil {
				id := fmt.Sprintf("d%d-%d", d, len(sent[d]))
				body := fmt.Sprintf(`{"device_id":"lamp-%d","id":%q,"type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`, d, id)
				for !postOne(client, *cmp.Or(address.Load(), new(string)), key, body) { // again and again under the same ID
					time.Sleep(2 * time.Millisecond)
				}
				sent[d] = append(sent[d], id)
				accepted.Add(1)
			}
		})
	}
	run := func() *program {
		p := start(t, nil, "gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--keys", keys, "--spool", filepath.Join(folder, "spool"))
		found := p.stderr.find(t, `gateway on (\S+)`)
		address.Store(&found)
		return p
	}
	got := map[string][]string{}
	waiting := 0
	for range 10 {
		p := run()
		enough := accepted.Load() + 30
		eventually(t, "more acceptances", func() bool { return accepted.Load() >= enough })
		if err := p.Process.Kill(); err != nil { // SIGKILL
			t.Fatal(err)
		}
		p.end(t)
		atKill := int(accepted.Load())
		takeDelivered(t, engine, got)
		for _, ids := range got {
			atKill -= len(ids)
		}
		waiting = max(waiting, atKill)
	}
	last := run()
	stop()
	clients.Wait()
	engine.Faults().Clear()
	if err := last.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	last.end(t).want(t, exitOK)
	takeDelivered(t, engine, got)
	for d, want := range sent {
		if ids := got[fmt.Sprint("lamp-", d)]; !slices.Equal(ids, want) {
			t.Errorf("lamp-%d: delivered %q, want what was accepted, %q", d, ids, want)
		}
	}
	if waiting == 0 {
		t.Error("at the kills everything had been published: the spool was not put to the test")
	}
	t.Logf("%d events accepted over ten kills; at one of them %d were in the spool only", accepted.Load(), waiting)
}

// postOne tells whether the gateway has answered with 202.
func postOne(client *http.Client, address, key, body string) bool {
	request, err := http.NewRequest(http.MethodPost, "http://"+address+"/v1/events", strings.NewReader(body))
	if err != nil {
		return false
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return false
	}
	return response.StatusCode == http.StatusAccepted
}

// The recorded data of real devices goes through the gateway over HTTP and over MQTT, through trouble: complete, and in order.
func TestGateway_RecordedData(t *testing.T) {
	t.Parallel()
	for _, set := range []struct{ format, file string }{
		{"mavpad", "mavpad-2005-01.csv.gz"},
		{"casas", "casas-tm000-2016-07.tsv.gz"},
		{"opensmarthome", "opensmarthome-2017.csv.gz"},
		{"lorawan", "helium-lorawan.ndjson.gz"},
	} {
		t.Run(set.format, func(t *testing.T) {
			t.Parallel()
			lines := recordedLines(t, set.format, set.file)
			t.Run("http", func(t *testing.T) {
				t.Parallel()
				throughGateway(t, lines, overHTTP)
			})
			t.Run("mqtt", func(t *testing.T) {
				t.Parallel()
				throughGateway(t, lines, overMQTT)
			})
		})
	}
}

// recordedLine is one line of recorded data with an ID.
type recordedLine struct{ device, id, text string }

func recordedLines(t *testing.T, format, file string) []recordedLine {
	t.Helper()
	atMost := 800
	if os.Getenv("FANOUT_TEST_DATA") == "all" {
		atMost = 0
	}
	var lines []recordedLine
	seen := map[string]bool{}
	for _, line := range recorded(t, format, file, atMost) {
		var e struct {
			DeviceID string `json:"device_id"`
			ID       string `json:"id"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.ID == "" {
			e.ID = fmt.Sprint("line-", len(lines))
			line = fmt.Sprintf(`{"id":%q,%s`, e.ID, line[1:])
		}
		if seen[e.ID] { // a frame that was heard twice
			continue
		}
		seen[e.ID] = true
		lines = append(lines, recordedLine{e.DeviceID, e.ID, strings.TrimSpace(line)})
	}
	return lines
}

// throughGateway sends the lines with send and compares what is delivered.
func throughGateway(t *testing.T, lines []recordedLine, send func(*testing.T, *gateway.Gateway, []recordedLine)) {
	t.Helper()
	engine, _ := localEngine(t)
	trouble(engine)
	p, err := producer.New(engine.SNS(), topicOfDev, producer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(p, gateway.Anyone(), gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	send(t, g, lines)
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if injected := engine.Faults().Injected(); injected[faults.Throttle] == 0 || injected[faults.DropReply] == 0 {
		t.Errorf("trouble: got %v, want some throttling and some lost replies", injected)
	}
	engine.Faults().Clear()
	want, got := map[string][]string{}, map[string][]string{}
	for _, line := range lines {
		want[line.device] = append(want[line.device], line.id)
	}
	takeDelivered(t, engine, got)
	for device, ids := range want {
		if !slices.Equal(got[device], ids) {
			t.Errorf("%s: got %d events, want %d in their order", device, len(got[device]), len(ids))
		}
	}
}

func overHTTP(t *testing.T, g *gateway.Gateway, lines []recordedLine) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, listener) }()
	var body bytes.Buffer
	for _, line := range lines {
		body.WriteString(line.text + "\n")
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	response, err := client.Post("http://"+listener.Addr().String()+"/v1/events", "application/x-ndjson", &body)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answers := 0
	for decoder := json.NewDecoder(response.Body); ; answers++ {
		var answer struct{ Line, Status int }
		if err := decoder.Decode(&answer); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if answer.Status != http.StatusAccepted {
			t.Errorf("line %d: got %d, want 202", answer.Line, answer.Status)
		}
	}
	if answers != len(lines) {
		t.Errorf("got %d answers, want %d", answers, len(lines))
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func overMQTT(t *testing.T, g *gateway.Gateway, lines []recordedLine) {
	b, err := startBroker("127.0.0.1:0", "--mqtt", false, newLogger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, stop := context.WithCancel(t.Context())
	subscribed := make(chan error, 1)
	go func() { subscribed <- g.Subscribe(ctx, gateway.MQTT{Broker: b.url, ClientID: "gateway"}) }()
	eventually(t, "the subscription", func() bool { return len(b.Topics.Subscribers("devices/x/events").Subscriptions) == 1 })
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(b.url).SetClientID("devices"))
	if token := client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer client.Disconnect(100)
	unacknowledged := func() int {
		session, _ := b.Clients.Get("gateway")
		return session.State.Inflight.Len()
	}
	publish := func(topic, text string) {
		if token := client.Publish(topic, 1, false, text); !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	for _, line := range lines {
		publish("devices/"+line.device+"/events", line.text)
		eventually(t, "room at the broker", func() bool { return unacknowledged() < 1000 })
	}
	publish("to/nobody", "the broker confirms a message before it hands it on, but one after another")
	eventually(t, "all acknowledgements", func() bool { return unacknowledged() == 0 })
	stop()
	if err := <-subscribed; err != nil {
		t.Error(err)
	}
}

// up takes events from other programs, and counts and watches them.
func TestUp_WithGatewayAndBroker(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	up := background(t, nil, upArgs(folder, "--gateway=127.0.0.1:0", "--mqtt=127.0.0.1:0", "--input", writeFile(t, "in.ndjson", generate(20)))...)
	address := up.stderr.find(t, `gateway +http://(\S+)/v1/events`)
	url := up.stderr.find(t, `MQTT +(\S+),`)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	if !postOne(client, address, "", `{"device_id":"lamp-7","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`) {
		t.Error("the gateway did not accept an event")
	}
	device := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(url).SetClientID("device"))
	if token := device.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	token := device.Publish("devices/lamp-7/events", 1, false, `{"type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":false}}`)
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	device.Disconnect(100)
	eventually(t, "the lines", func() bool { return count(t, folder) >= 20 })
	up.interrupt()
	var sum upSummary
	up.wait(t).want(t, exitOK).decode(t, &sum)
	if sum.In < 21 || sum.In != sum.Published || sum.Handled["history"] != sum.In || sum.Lost != 0 {
		t.Errorf("summary: got %+v, want at least the 20 lines and the request in, and everything handled", sum)
	}
}

// A client's trace goes along with the message, so that the services' spans can link to it.
func TestGateway_PassesTheTraceOn(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	p := background(t, nil, "gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--no-keys")
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.stderr.find(t, `gateway on (\S+)`)+"/v1/events",
		strings.NewReader(`{"device_id":"lamp-7","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Traceparent", trace)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusAccepted {
		t.Errorf("got %s, %v, want 202", response.Status, err)
	}
	api := engine.SQS()
	queue, err := api.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("dev-history.fifo")})
	if err != nil {
		t.Fatal(err)
	}
	out, err := api.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MessageAttributeNames: []string{"All"}})
	if err != nil || len(out.Messages) != 1 {
		t.Fatalf("got %v, %v, want one message", out, err)
	}
	if got := aws.ToString(out.Messages[0].MessageAttributes["traceparent"].StringValue); got != trace {
		t.Errorf("traceparent: got %q, want %q", got, trace)
	}
	p.interrupt()
	p.wait(t).want(t, exitOK)
}

// Twelve processes that add keys at once lose none, and who reads the file meanwhile never sees half of it. The file stays where the link
// leads to, with its mode.
func TestGatewayKey_ManyAtOnce(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file, link := filepath.Join(folder, "real", "keys.json"), filepath.Join(folder, "keys.json")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	first := strings.TrimSpace(invoke(t, "", "gateway", "key", "first", "--file", link).want(t, exitOK).stdout)
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	keys, err := gateway.LoadKeys(link)
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan struct{})
	watched := make(chan error, 1)
	go func() {
		for {
			if _, err := keys.Reload(); err != nil {
				watched <- err
				return
			}
			if _, ok := keys.Check(first); !ok {
				watched <- errors.New("the first key is gone")
				return
			}
			select {
			case <-all:
				watched <- nil
				return
			default:
			}
		}
	}()
	const processes = 12
	var running []*program
	for i := range processes {
		running = append(running, start(t, nil, "gateway", "key", fmt.Sprint("key-", i), "--file", []string{file, link}[i%2]))
	}
	var made []string
	for _, p := range running {
		made = append(made, strings.TrimSpace(p.end(t).want(t, exitOK).stdout))
	}
	close(all)
	if err := <-watched; err != nil {
		t.Errorf("watching: %v", err)
	}
	if _, err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	if keys.Len() != processes+1 {
		t.Errorf("got %d keys, want %d", keys.Len(), processes+1)
	}
	for i, key := range made {
		if got, ok := keys.Check(key); !ok || got.Name != fmt.Sprint("key-", i) {
			t.Errorf("key %d: got %q, %v, want it let in", i, got.Name, ok)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("file: got %v, %v, want mode 0640", info, err)
	}
	if got, err := os.Readlink(link); err != nil || got != file {
		t.Errorf("link: got %q, %v, want it as it was", got, err)
	}
}
