package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

// consoleOf starts the command and returns the address with its token.
func consoleOf(t *testing.T, endpoint string, more ...string) string {
	t.Helper()
	job := background(t, nil, append([]string{"console", "--addr", "127.0.0.1:0", "--endpoint", endpoint, "--state", t.TempDir(), "--folder", t.TempDir()}, more...)...)
	return job.stderr.find(t, `at (http://\S+)`)
}

// request asks for a page as a browser would, and returns status and body.
func request(t *testing.T, client *http.Client, method, address string, form url.Values, header http.Header) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	maps.Copy(r.Header, header)
	r.Host = header.Get("Host")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// TestConsole_SessionIsNotTheToken: what a browser keeps is of no use to let another in, ends, and is sent by HTTPS only where there is HTTPS.
func TestConsole_SessionIsNotTheToken(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	pair := authority.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := writeFile(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})))
	keyFile := writeFile(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	for scheme, more := range map[string][]string{"http": nil, "https": {"--tls-cert", cert, "--tls-key", keyFile}} {
		job := background(t, nil, append([]string{"console", "--addr", "127.0.0.1:0", "--endpoint", endpoint, "--state", t.TempDir()}, more...)...)
		address := job.stderr.find(t, `at (https?://\S+)`)
		base, token, _ := strings.Cut(address, "/?token=")
		if !strings.HasPrefix(base, scheme+"://") {
			t.Fatalf("%s: got address %s", scheme, base)
		}
		client := *authority.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		answer, err := client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		cookies := answer.Cookies()
		if len(cookies) != 1 {
			t.Fatalf("%s: got %d %v, want one cookie", scheme, answer.StatusCode, cookies)
		}
		c := cookies[0]
		if strings.Contains(c.Value, token) || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.MaxAge <= 0 || c.Secure != (scheme == "https") {
			t.Errorf("%s: got cookie %v, want one without the token, for this site and for some hours only", scheme, c)
		}
		end, rest, _ := strings.Cut(c.Value, ".")
		for value, want := range map[string]int{
			c.Value: http.StatusOK, token: http.StatusForbidden, "": http.StatusForbidden, c.Value + "x": http.StatusForbidden,
			"9" + end + "." + rest: http.StatusForbidden, // one that would last longer
		} {
			header := http.Header{"Cookie": {c.Name + "=" + value}}
			if status, _ := request(t, &client, "GET", base+"/", nil, header); status != want {
				t.Errorf("%s: cookie %q: got %d, want %d", scheme, value, status, want)
			}
		}
		if status, _ := request(t, &client, "GET", base+"/?token="+c.Value, nil, nil); status != http.StatusForbidden {
			t.Errorf("%s: the session as a token: got %d, want 403", scheme, status)
		}
		eventually(t, "the token to be refused for the guesses of its address", func() bool { // which are forgotten one by one
			for range 20 {
				_, _ = request(t, &client, "GET", base+"/?token=guess", nil, nil)
			}
			status, _ := request(t, &client, "GET", address, nil, nil)
			return status == http.StatusTooManyRequests
		})
		if status, _ := request(t, &client, "GET", base+"/", nil, http.Header{"Cookie": {c.Name + "=" + c.Value}}); status != http.StatusOK {
			t.Errorf("%s: who is in already, after the guesses: got %d, want 200", scheme, status)
		}
		contains(t, "log", job.stderr.String(), "level=WARN", "login refused", "server=console")
		client.CloseIdleConnections()
	}
}

func browserless(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// Consoles of several environments stand side by side on one machine, and a browser keeps cookies by host, whatever the port.
func TestConsole_SideBySide(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	browser := browserless(t)
	addresses := []string{consoleOf(t, endpoint), consoleOf(t, endpoint)}
	for _, address := range addresses {
		if status, _ := request(t, browser, "GET", address, nil, nil); status != http.StatusOK {
			t.Fatalf("with the token: got %d", status)
		}
	}
	for _, address := range addresses {
		base, _, _ := strings.Cut(address, "?token=")
		if status, body := request(t, browser, "GET", base, nil, nil); status != http.StatusOK {
			t.Errorf("after both were opened: got %d %q", status, body)
		}
	}
}

// TestConsole_LetsNobodyElseIn: no token, a wrong one, another host's name, a form from elsewhere or without its secret.
func TestConsole_LetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	bury(t, engine, 0, lamps(6, 2), func(int) string { return "a" })
	address := consoleOf(t, endpoint)
	base, _, _ := strings.Cut(address, "/?token=")
	do := base + "/do/redrive/dev-history-dlq.fifo"

	stranger := browserless(t)
	for _, page := range []string{base + "/", base + "/live", base + "/dlq/dev-history-dlq.fifo", base + "/assets/style.css", base + "/?token=wrong"} {
		if status, body := request(t, stranger, "GET", page, nil, nil); status != http.StatusForbidden || strings.Contains(body, "history") {
			t.Errorf("%s without a token: got %d %q", page, status, body)
		}
	}
	if status, _ := request(t, stranger, "POST", do, url.Values{"csrf": {"x"}}, nil); status != http.StatusForbidden {
		t.Errorf("a form without a token: got %d", status)
	}

	friend := browserless(t)
	status, body := request(t, friend, "GET", address, nil, nil)
	if status != http.StatusOK {
		t.Fatalf("with the token: got %d %q", status, body)
	}
	contains(t, "overview", body, "6 dead letters", "<b>dev</b> not production", "dev-device-events.fifo", `title="the handler failed at every attempt, though`)
	_, queue := request(t, friend, "GET", base+"/dlq/dev-history-dlq.fifo", nil, nil)
	contains(t, "queue", queue, "What the classes mean", "<dd>SNS could not deliver it to the queue</dd>")
	_, plan := request(t, friend, "GET", base+"/plan/redrive/dev-history-dlq.fifo?code=a", nil, nil)
	_, secret, _ := strings.Cut(plan, `name="csrf" value="`)
	secret, _, _ = strings.Cut(secret, `"`)
	contains(t, "plan", plan, "Redrive 6 dead letters of 2 devices?", "Nothing has been moved yet", "code a")
	for what, c := range map[string]struct {
		form   url.Values
		header http.Header
		want   int
	}{
		"another site":            {url.Values{"csrf": {secret}}, http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		"another site, by origin": {url.Values{"csrf": {secret}}, http.Header{"Origin": {"http://evil.example"}}, http.StatusForbidden},
		"no secret":               {url.Values{}, nil, http.StatusForbidden},
		"another host's name":     {url.Values{"csrf": {secret}}, http.Header{"Host": {"evil.example"}}, http.StatusMisdirectedRequest},
		"a bad filter":            {url.Values{"csrf": {secret}, "class": {"x"}}, nil, http.StatusBadRequest},
	} {
		if status, body := request(t, friend, "POST", do, c.form, c.header); status != c.want {
			t.Errorf("%s: got %d %q, want %d", what, status, body, c.want)
		}
	}
	for page, want := range map[string]int{
		"/dlq/nothing": 404, "/plan/burn/dev-history-dlq.fifo": 404, "/plan/redrive/dev-history-dlq.fifo?older=x": 400, "/jobs/7": 404,
		"/dlq/dev-history-dlq.fifo/none": 404, "/dlq/dev-history-dlq.fifo?limit=x": 400,
	} {
		if status, body := request(t, friend, "GET", base+page, nil, nil); status != want {
			t.Errorf("%s: got %d, want %d: %s", page, status, want, body)
		}
	}
	if n := total(drain(t, engine, "dev-history.fifo")); n != 0 {
		t.Errorf("%d dead letters were moved", n)
	}
}

// flaky is a consumer of history whose cause of failure can be mended.
func flaky(t *testing.T, engine *local.Engine) (mend func(), handled *atomic.Int64) {
	t.Helper()
	var mended atomic.Bool
	handled = &atomic.Int64{}
	c, err := consumers.New(engine.SQS(), consumers.Queue{
		Service: "history", URL: queueURL(t, engine, "dev-history.fifo"), DLQURL: queueURL(t, engine, "dev-history-dlq.fifo"),
	}, func(_ context.Context, e events.Event) error {
		switch {
		case mended.Load() || strings.HasPrefix(e.ID, "good"):
		case strings.HasPrefix(e.ID, "room"):
			return consumers.Known("no_such_room", errors.New("the room of "+e.DeviceID+" was not imported: want one of hall, kitchen, attic"))
		default:
			return consumers.Known("database_down", errors.New("dial tcp 10.0.4.17:5432: connect: connection refused\nafter 4 attempts in 1.2 s"))
		}
		handled.Add(1)
		return nil
	}, consumers.Config{WaitTime: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return func() { mended.Store(true) }, handled
}

func deliverTo(t *testing.T, engine *local.Engine, e events.Event) {
	t.Helper()
	deliverAt(t, engine, "history", e)
}

// deliverAt puts an event into a service's queue.
func deliverAt(t *testing.T, engine *local.Engine, service string, e events.Event) {
	t.Helper()
	e.Source, e.Sequence = "gateway/hall", "00000001"
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	url := queueURL(t, engine, "dev-"+service+".fifo")
	_, err = engine.SQS().SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &url, MessageBody: aws.String(string(body)), MessageGroupId: &e.DeviceID, MessageDeduplicationId: &e.ID,
		MessageAttributes: map[string]types.MessageAttributeValue{
			"type":        {DataType: aws.String("String"), StringValue: aws.String(e.Type())},
			"source":      {DataType: aws.String("String"), StringValue: aws.String(e.Source)},
			"traceparent": {DataType: aws.String("String"), StringValue: aws.String("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestConsole_InABrowser: a person finds a failed event, reads why, redrives it with the plan shown first, and sees it handled; sees
// which devices can't go on, and releases one.
// FANOUT_TEST_SCREENSHOTS=FOLDER keeps pictures of the pages at both widths, light and dark.
//
// It runs alone: the page draws itself anew every few seconds, and a browser that other tests leave too little time reads and clicks what
// has just been replaced.
func TestConsole_InABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser; run without -short")
	}
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
		}
	}
	if browser == "" {
		t.Skip("no Chromium, in which the console's pages are tried; apt-get install chromium")
	}
	engine, _ := localEngine(t)
	mend, handled := flaky(t, engine)
	m := makeTrouble(t, engine)
	for i := range 26 {
		e := events.New(fmt.Sprintf("lamp-%d", i%7), device.PowerChanged{On: i%2 == 0})
		e.ID, e.Time = fmt.Sprintf("room-%02d", i), time.Now().Add(-time.Hour)
		if i%3 == 0 {
			e = events.New(fmt.Sprintf("hall-sensor-%d", i%2), device.TemperatureMeasured{Celsius: 21.4})
			e.ID, e.Time = fmt.Sprintf("down-%02d", i), time.Now().Add(-2*time.Hour)
		}
		deliverTo(t, engine, e)
	}
	eventually(t, "26 dead letters", func() bool {
		for _, q := range engine.Queues() {
			if q.Name == "dev-history-dlq.fifo" {
				return q.Visible == 26
			}
		}
		return false
	})
	silent := "http://" + unusedAddress(t)
	address := parkingConsole(t, engine, consoleOptions{consumers: []string{m.health, silent}, services: serviceOptions{data: m.data}})
	base, _, _ := strings.Cut(address, "/?token=")

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(patience))
	allocated, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocated)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, patience)
	defer cancel()
	step := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	text := func(selector string) string {
		t.Helper()
		found, err := chromedp.Run(ctx, chromedp.Text(selector))
		if err != nil {
			t.Fatalf("read %s: %v", selector, err)
		}
		return found
	}
	shoot := func(name string) {
		t.Helper()
		folder := os.Getenv("FANOUT_TEST_SCREENSHOTS")
		if folder == "" {
			return
		}
		for _, scheme := range []string{"light", "dark"} {
			for deviceID, width := range map[string]int64{"desktop": 1280, "phone": 390} {
				emulate(t, ctx, scheme, width)
				overflow, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > innerWidth`))
				if err != nil {
					t.Fatal(err)
				}
				picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
				if err != nil {
					t.Fatal(err)
				}
				if overflow {
					t.Errorf("%s: the page is wider than a %s", name, deviceID)
				}
				if err := os.WriteFile(filepath.Join(folder, name+"-"+deviceID+"-"+scheme+".png"), picture, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		emulate(t, ctx, "light", 1280)
	}

	step("open", chromedp.Navigate(address), chromedp.WaitVisible(`.headline`))
	contains(t, "blocked", text("#blocked"), "hub-3", "hub-1", "gateway is down", "Consumer "+silent+" can’t be asked")
	contains(t, "parked", text("#parked"), "door-1", "door-a", "was not imported", "Release…")
	contains(t, "overview", text("body"), "30 dead letters", "no_such_room", "database_down", "not production")
	at, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil || at != base+"/" {
		t.Errorf("the address is %s, %v, want it without the token", at, err)
	}
	shoot("overview")
	step("find the failure", chromedp.Click(`a.failure[href*="dev-history-dlq"]`), chromedp.WaitVisible(`form.filter`))
	contains(t, "queue", text("body"), "dev-history-dlq.fifo", "no_such_room", "Redrive selection…")
	shoot("queue")
	step("open the event", chromedp.Click(`td[data-label=Event] a`), chromedp.WaitVisible(`#redrive-one`))
	contains(t, "event", text("body"), "was not imported: want one of hall, kitchen, attic", `"subject": "lamp-`, "0af7651916cd43dd8448eb211c80319c", "after 1 attempt")
	shoot("event")
	id := text("h1")
	mend()
	step("plan", chromedp.Click(`#redrive-one`), chromedp.WaitVisible(`#confirm`))
	contains(t, "plan of one", text("body"), "Redrive 1 dead letter of 1 device?", "Nothing has been moved yet", "dev-history.fifo", "in dev")
	step("redrive", chromedp.Click(`#confirm`), chromedp.WaitVisible(`[data-ended]`))
	contains(t, "job", text("body"), "Sent back 1 dead letter", "Done.")
	eventually(t, id+" handled", func() bool { return handled.Load() == 1 })

	// The rest of the failure, by its group.
	step("overview", chromedp.Navigate(base+"/"), chromedp.WaitVisible(`.headline`))
	step("plan all", chromedp.Click(`a.button[href*="fingerprint"]`), chromedp.WaitVisible(`#confirm`))
	shoot("plan")
	step("redrive all", chromedp.Click(`#confirm`), chromedp.WaitVisible(`[data-ended]`))
	shoot("job")
	step("overview again", chromedp.Navigate(base+"/"), chromedp.WaitVisible(`#jobs`))
	shoot("overview-after")
	m.mended.Store(true)
	step("plan a release", chromedp.Click(`#parked a.button`), chromedp.WaitVisible(`#confirm`))
	contains(t, "plan of a release", text("body"), "Redrive 4 dead letters of 1 device?", "Release door-1", "in order")
	shoot("release")
	step("release", chromedp.Click(`#confirm`), chromedp.WaitVisible(`[data-ended]`))
	contains(t, "release", text("body"), "Sent back 4 dead letters", "Done.")
	step("drop the rest", chromedp.Navigate(base+"/plan/drop/dev-history-dlq.fifo"), chromedp.WaitVisible(`#confirm`), chromedp.Click(`#confirm`), chromedp.WaitVisible(`[data-ended]`))
	contains(t, "dropped", text("body"), "Dropped")
	step("at last", chromedp.Navigate(base+"/"), chromedp.WaitVisible(`.good-text`))
	contains(t, "overview", text("body"), "No dead letters", "hub-3")
	if n := handled.Load(); n < 10 {
		t.Errorf("%d events were handled, want those of one failure", n)
	}
}

// emulate shows the page as a screen of that width and colour scheme would.
func emulate(t *testing.T, ctx context.Context, scheme string, width int64) {
	t.Helper()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err == nil {
		_, err = chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: width, Height: 844, DeviceScaleFactor: 1, Mobile: width < 500,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
