package push_test

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/chromedp/chromedp"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

// browser starts a headless Chromium, or skips the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("needs a browser: install Chromium (Debian: apt-get install chromium)")
	}
	// Without the sandbox, which Chromium does not start as root; the pages are our own.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WSURLReadTimeout(patience))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	return ctx
}

// patience is how long a test waits for the browser. It is no measure of speed.
const patience = 2 * time.Minute

// cuttable is a listener whose connections can be cut, as a network does.
type cuttable struct {
	net.Listener
	mu    sync.Mutex // guards conns
	conns []net.Conn
}

func (l *cuttable) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

func (l *cuttable) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

// A person opens the page. Events go through a queue and the consumer's runtime to the service and into the browser; the
// connection is cut, and what was missed comes when the page is back.
func TestPage_ShowsLiveEvents(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a browser; run without -short")
	}
	ctx := browser(t)
	const token = "0123456789abcdef"
	service := push.New(push.Config{Token: token})
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &cuttable{Listener: socket}
	server := &http.Server{Handler: service.Handler(), ReadHeaderTimeout: time.Minute}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })

	client := local.New(local.Options{}).SQS()
	queue := consumers.Queue{Service: "push", URL: createQueue(t, client, "dev-push.fifo"), DLQURL: createQueue(t, client, "dev-push-dlq.fifo")}
	consumer, err := consumers.New(client, queue, service.Handle, consumers.Config{WaitTime: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	consuming, stop := context.WithCancel(t.Context())
	running.Go(func() {
		if err := consumer.Run(consuming); err != nil {
			t.Errorf("consumer: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = service.Close(closing) // the browser may be gone
		_ = server.Close()
		running.Wait()
	})
	send := func(e events.Event) {
		t.Helper()
		body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: &queue.URL, MessageBody: aws.String(string(body)), MessageGroupId: &e.DeviceID, MessageDeduplicationId: &e.ID,
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	address := "http://" + listener.Addr().String() + "/"
	do := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			page, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`)) // what there is instead
			t.Fatalf("%s: %v; the page shows:\n%s", what, err, page)
		}
	}
	see := func(what, condition string) {
		t.Helper()
		poll := chromedp.Poll[chromedp.Void](condition, chromedp.WithPollingTimeout(patience))
		err := chromedp.Do(ctx, poll)
		for err != nil && strings.Contains(err.Error(), "Cannot find context") { // the page was being left
			err = chromedp.Do(ctx, poll)
		}
		if err != nil {
			do(what, poll)
		}
	}
	const live = `document.querySelector("#status").textContent === "live"`
	// rows says that the table has the events of these devices, the newest first.
	rows := func(devices string) string {
		return `[...document.querySelectorAll("#events tr")].map(r => r.cells[1].textContent).join(" ") === "` + devices + `"`
	}

	do("open without a token", chromedp.Navigate(address))
	see("that a token is wanted", `document.querySelector("#status").textContent.includes("#token=")`)
	do("open with a token", chromedp.Navigate("about:blank"), chromedp.Navigate(address+"#token="+token))
	see("that it is live", live)
	see("that the token is not left in the address", `location.href === "`+address+`"`)

	send(event("hall", 1))
	see("an event", rows("hall"))
	send(event("<b>cellar</b>", 1))
	see("an event with markup", rows("<b>cellar</b> hall"))
	see("no markup from it", `document.querySelector("#events b") === null`)

	listener.cut()
	send(event("hall", 2))
	see("what was missed, when it is back", rows("hall <b>cellar</b> hall"))
	see("that it is live again", live)

	// The choice has no answer. It holds from the next connection on, so that one is begun.
	do("choose a device", chromedp.SendKeys(chromedp.CSS("#devices"), "porch"), chromedp.SetValue(chromedp.CSS("#type"), "device.power.changed.v1"))
	see("the type offered", `document.querySelector("#type").value === "device.power.changed.v1"`)
	do("watch", chromedp.Evaluate[chromedp.Void](`
		window.cuts = 0
		new MutationObserver(() => { if (!(`+live+`)) window.cuts++ }).observe(document.querySelector("#status"), {childList: true, characterData: true, subtree: true})`))
	listener.cut()
	see("that it noticed", `window.cuts > 0`) // it connects again so soon that one may not see it in between
	see("that it is live once more", live)
	send(event("attic", 1))
	door := event("porch", 1)
	door.Data = device.ContactChanged{Open: true}
	send(door)
	send(event("porch", 2))
	see("the chosen events only", rows("porch hall <b>cellar</b> hall"))
	see("their count", `document.querySelector("#count").textContent === "4"`)
}

func createQueue(t *testing.T, client *sqs.Client, name string) (url string) {
	t.Helper()
	out, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"FifoQueue": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.QueueUrl)
}
