package local_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/infra/local"
)

// The numbered statements can be checked against anything that answers like SNS and SQS, AWS itself included:
//
//	FANOUT_CONFORMANCE_ENDPOINT=http://127.0.0.1:4566 go test ./infra/local -v -run 'TestQueue|TestSend|TestReceive|TestFIFO|TestDead|TestMove|TestTopic|TestSub|TestPublish|TestWire'
//	FANOUT_CONFORMANCE_ENDPOINT=aws AWS_PROFILE=… go test …
//
// Time is real there. FANOUT_CONFORMANCE_PATIENCE, by default 15s, is how long a case may pause; those that want more are
// skipped and say so. So are the cases that are about the engine and no numbered statement. Queues and topics have names of
// their own, "fanout-conformance-…", and are deleted afterwards.
const (
	endpointVariable = "FANOUT_CONFORMANCE_ENDPOINT"
	patienceVariable = "FANOUT_CONFORMANCE_PATIENCE"
)

// remote is what the suite is told to check instead of an engine of its own.
type remote struct {
	endpoint        string // "" is AWS
	region, account string
	credentials     aws.CredentialsProvider
	queueURLs       string // what queue URLs begin with: all but the name
	patience        time.Duration
}

// theRemote finds the remote once; it is nil when there is none.
var theRemote = sync.OnceValues(findRemote)

func findRemote() (*remote, error) {
	r := &remote{endpoint: os.Getenv(endpointVariable), patience: 15 * time.Second}
	if r.endpoint == "" {
		return nil, nil
	}
	if text := os.Getenv(patienceVariable); text != "" {
		var err error
		if r.patience, err = time.ParseDuration(text); err != nil {
			return nil, fmt.Errorf("%s: got %q, want a duration such as 5m", patienceVariable, text)
		}
	}
	ctx := context.Background()
	options := []func(*config.LoadOptions) error{config.WithDefaultRegion(local.DefaultRegion)}
	if r.endpoint == "aws" {
		r.endpoint = ""
	} else {
		options = append(options, config.WithBaseEndpoint(r.endpoint),
			config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("conformance", "conformance", "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", endpointVariable, err)
	}
	cfg.HTTPClient = &http.Client{Transport: remoteTransport}
	r.region, r.credentials = cfg.Region, cfg.Credentials

	// A queue's URL and ARN tell account and region.
	client := sqs.NewFromConfig(cfg)
	name := newPrefix() + "probe"
	queue, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		return nil, fmt.Errorf("%s: create a queue: %w", endpointVariable, err)
	}
	defer func() { _, _ = client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: queue.QueueUrl}) }()
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	if err != nil {
		return nil, fmt.Errorf("%s: look at a queue: %w", endpointVariable, err)
	}
	arn := strings.Split(out.Attributes["QueueArn"], ":")
	if len(arn) != 6 {
		return nil, fmt.Errorf("%s: a queue's ARN is %q", endpointVariable, out.Attributes["QueueArn"])
	}
	r.region, r.account = arn[3], arn[4]
	r.queueURLs = strings.TrimSuffix(*queue.QueueUrl, name)
	return r, nil
}

func newPrefix() string { return "fanout-conformance-" + strings.ToLower(rand.Text()[:8]) + "-" }

// namespace carries requests to a remote. The cases speak of an account, a region and short names that are theirs alone;
// this is the one place that turns them into real ones, and back again in the answers.
type namespace struct {
	remote *remote
	prefix string

	mu             sync.Mutex
	queues, topics []string // names that were asked for
}

const (
	nominalURLs    = "http://" + local.DefaultAddr + "/" + local.DefaultAccount + "/"
	nominalAccount = ":" + local.DefaultRegion + ":" + local.DefaultAccount + ":"
)

var (
	nominalARN = regexp.MustCompile(`arn:aws:(sqs|sns)` + nominalAccount)
	legalName  = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.fifo)?$`)
)

// name keeps illegal names, and the length of those that are about it.
func (n *namespace) name(name string) string {
	switch {
	case !legalName.MatchString(name):
		return name
	case len(name) > 2*len(n.prefix):
		return n.prefix + name[len(n.prefix):]
	default:
		return n.prefix + name
	}
}

func (n *namespace) queueURL(url string) string {
	host, name, ok := strings.Cut(url, "/"+local.DefaultAccount+"/")
	switch {
	case !ok && strings.Contains(url, "/"):
		return url
	case !ok: // a name will do
		return n.name(url)
	case host == "http://"+local.DefaultAddr:
		return n.remote.queueURLs + n.name(name)
	default:
		return host + "/" + n.remote.account + "/" + n.name(name)
	}
}

// value is a parameter's value as the remote understands it.
func (n *namespace) value(parameter, value string) string {
	switch parameter {
	case "QueueName", "Name", "QueueNamePrefix":
		return n.name(value)
	case "QueueUrl":
		return n.queueURL(value)
	case "MessageBody", "Message":
		return value
	default:
		return nominalARN.ReplaceAllString(value, "arn:aws:${1}:"+n.remote.region+":"+n.remote.account+":"+n.prefix)
	}
}

// json translates what a JSON value holds.
func (n *namespace) json(parameter string, v any) any {
	switch v := v.(type) {
	case string:
		return n.value(parameter, v)
	case []any:
		for i := range v {
			v[i] = n.json(parameter, v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = n.json(name, v[name])
		}
	}
	return v
}

// body leaves alone what is malformed: then that is what the case is about.
func (n *namespace) body(isJSON bool, body []byte) []byte {
	if !isJSON {
		return []byte(n.form(string(body)))
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil || decoder.More() {
		return body
	}
	translated, err := json.Marshal(n.json("", v))
	if err != nil {
		return body
	}
	return translated
}

func (n *namespace) form(text string) string {
	values, err := url.ParseQuery(text)
	if err != nil || len(values) == 0 {
		return text
	}
	for parameter, all := range values {
		for i := range all {
			all[i] = n.value(parameter, all[i])
		}
	}
	return values.Encode()
}

// answer translates back. The prefix occurs nowhere by chance.
func (n *namespace) answer(body []byte) []byte {
	r := n.remote
	return []byte(strings.NewReplacer(
		n.prefix, "",
		r.queueURLs, nominalURLs,
		"arn:aws:sqs:"+r.region+":"+r.account+":", "arn:aws:sqs"+nominalAccount,
		"arn:aws:sns:"+r.region+":"+r.account+":", "arn:aws:sns"+nominalAccount,
		"https://sns."+r.region+".", "https://sns."+local.DefaultRegion+".",
	).Replace(string(body)))
}

// note remembers a name, for cleaning up.
func (n *namespace) note(names *[]string, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if legalName.MatchString(name) {
		*names = append(*names, name)
	}
}

// RoundTrip implements http.RoundTripper.
func (n *namespace) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		read, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		body = read
	}
	isJSON := r.Header.Get("X-Amz-Target") != "" || strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-amz-json")
	service := "sqs"
	if form, err := url.ParseQuery(string(body)); !isJSON && err == nil {
		if form.Get("Version") == snsVersion || form.Has("TopicArn") || form.Get("Action") == "ListSubscriptions" {
			service = "sns"
		}
		switch form.Get("Action") {
		case "CreateTopic":
			n.note(&n.topics, form.Get("Name"))
		case "CreateQueue":
			n.note(&n.queues, form.Get("QueueName"))
		}
	}
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".CreateQueue") {
		var in struct{ QueueName string }
		if json.Unmarshal(body, &in) == nil {
			n.note(&n.queues, in.QueueName)
		}
	}
	body = n.body(isJSON, body)
	path := r.URL.Path
	if name, ok := strings.CutPrefix(path, "/"+local.DefaultAccount+"/"); ok {
		path = "/" + n.remote.account + "/" + n.name(name)
	}
	target := n.remote.endpoint
	if target == "" {
		target = "https://" + service + "." + n.remote.region + ".amazonaws.com"
	}
	target += path
	if r.URL.RawQuery != "" {
		target += "?" + n.form(r.URL.RawQuery)
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"Content-Type", "X-Amz-Target", "X-Amzn-Trace-Id", "X-Amzn-Query-Mode", "Accept"} {
		if values := r.Header.Values(name); len(values) > 0 {
			out.Header[name] = values
		}
	}
	keys, err := n.remote.credentials.Retrieve(r.Context())
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(r.Context(), keys, out, hex.EncodeToString(hash[:]), service, n.remote.region, time.Now()); err != nil {
		return nil, err
	}
	resp, err := remoteTransport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	answer = n.answer(answer)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(answer)), int64(len(answer))
	resp.Header.Del("Content-Length")
	return resp, nil
}

var remoteTransport = &http.Transport{MaxIdleConnsPerHost: 10}

// newRemoteWorld makes a world whose clients talk to the remote.
func newRemoteWorld(t *testing.T, r *remote) *world {
	n := &namespace{remote: r, prefix: newPrefix()}
	cfg := aws.Config{
		Region:       local.DefaultRegion,
		Credentials:  credentials.NewStaticCredentialsProvider("x", "x", ""), // the namespace signs
		BaseEndpoint: aws.String("http://" + local.DefaultAddr),
		HTTPClient:   &http.Client{Transport: n},
	}
	w := &world{
		T: t, remote: r, patience: r.patience, http: &http.Client{Transport: n},
		sns: sns.NewFromConfig(cfg),
		// The body of an envelope is translated back, so that its checksum is another.
		sqs: sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.DisableMessageChecksumValidation = true }),
	}
	t.Cleanup(func() { // every name goes through the namespace, so that nothing of anybody else's is touched
		ctx := context.WithoutCancel(t.Context())
		for _, name := range n.topics {
			_, _ = w.sns.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: aws.String("arn:aws:sns" + nominalAccount + name)})
		}
		for _, name := range n.queues {
			_, _ = w.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: aws.String(nominalURLs + name)})
		}
	})
	return w
}

// remoteHolds waits for the remote's counters, which lag behind by up to a minute on AWS.
func (w *world) remoteHolds(name, want string) {
	w.Helper()
	url := nominalURLs + name
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		a := w.attributes(url, "All")
		got := strings.Join([]string{
			a["ApproximateNumberOfMessages"], a["ApproximateNumberOfMessagesNotVisible"], a["ApproximateNumberOfMessagesDelayed"],
		}, " ")
		switch {
		case got == want:
			return
		case time.Now().After(deadline):
			w.Fatalf("%s holds %s (available, in flight, delayed), want %s", name, got, want)
		}
	}
}

// allow lets a topic send to a queue, which AWS wants to be told. A queue that does not exist needs no telling.
func (w *world) allow(topicARN, queueName string) {
	arn := arnPrefix + queueName
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},` +
		`"Action":"sqs:SendMessage","Resource":"` + arn + `","Condition":{"ArnEquals":{"aws:SourceArn":"` + topicARN + `"}}}]}`
	_ = w.trySet(nominalURLs+queueName, attrs{"Policy": policy})
}

// The suite finds nothing wrong with an engine that it knows only by its endpoint, in real time, and in another account and
// region. It does not wait here for what takes long.
func TestConformance_OverAnEndpoint(t *testing.T) {
	t.Parallel()
	if os.Getenv(endpointVariable) != "" {
		t.Skip("this is the suite over an endpoint already")
	}
	if testing.Short() {
		t.Skip("it is slow, being in real time; run without -short")
	}
	e := local.New(local.Options{AccountID: "123456789012", Region: "us-east-2"})
	endpoint, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	suite := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^Test(Queue|Send|Receive|FIFO|DeadLetters|Move|Topic|Subscription|Publish|Wire)")
	suite.Env = append(os.Environ(), endpointVariable+"="+endpoint, patienceVariable+"=500ms")
	out, err := suite.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passed := strings.Count(string(out), "--- PASS: ") - strings.Count(string(out), "\n--- PASS: ") // cases, not tests
	if passed < 100 {
		t.Errorf("%d cases passed, want at least 100:\n%s", passed, out)
	}
	if left := e.Queues(); len(left) > 0 {
		t.Errorf("the suite left %v", left)
	}
}
