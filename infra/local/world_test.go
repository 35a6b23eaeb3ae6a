package local_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/infra/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(run{m}) }

type run struct{ *testing.M }

// Run closes the connections to a remote, which are no leak.
func (r run) Run() int {
	defer remoteTransport.CloseIdleConnections()
	return r.M.Run()
}

const arnPrefix = "arn:aws:sqs:eu-central-1:000000000000:"

// behaviour is one statement about the engine and the test of it.
type behaviour struct {
	name string
	test func(w *world)
}

// check runs each behaviour on an engine of its own, in fake time; or against the remote, if there is one, in real time.
// The names of those that show numbered statements begin with the numbers: "G81 a duplicate is answered with …".
func check(t *testing.T, behaviours []behaviour) {
	t.Helper()
	r, err := theRemote()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range behaviours {
		numbers := statements(t.Name(), b.name)
		t.Run(strings.TrimSpace(numbers+" "+b.name), func(t *testing.T) {
			t.Parallel()
			switch {
			case r == nil:
				synctest.Test(t, func(t *testing.T) { b.test(newWorld(t)) })
			case numbers == "":
				t.Skip("no numbered statement: it is about the local engine")
			default:
				b.test(newRemoteWorld(t, r))
			}
		})
	}
}

// world is an engine, or a remote, and clients of it. Its methods end the test when a call fails that should not.
type world struct {
	*testing.T
	engine *local.Engine // nil with a remote
	http   *http.Client  // for requests without any SDK
	sqs    *sqs.Client
	sns    *sns.Client

	remote   *remote       // nil with an engine
	patience time.Duration // what is left of the remote's
}

func newWorld(t *testing.T) *world {
	return worldOf(t, local.New(local.Options{}))
}

func worldOf(t *testing.T, e *local.Engine) *world {
	return &world{T: t, engine: e, http: e.HTTPClient(), sqs: e.SQS(), sns: e.SNS()}
}

// sleep lets time pass. It may skip the test, so it is not for functions that run beside it; their pauses are short.
func (w *world) sleep(d time.Duration) {
	w.Helper()
	if w.remote != nil {
		if w.patience -= d; w.patience < 0 {
			w.Skipf("wants a pause of %v more than %s has left", -w.patience, patienceVariable)
		}
	}
	time.Sleep(d)
}

// margin is how exactly time is kept: to the nanosecond when it is fake, and roughly by a remote.
func (w *world) margin() time.Duration {
	if w.remote != nil {
		return 2 * time.Second
	}
	return time.Nanosecond
}

// took fails unless f takes that long: to the nanosecond where time is fake, and with a remote at least about as long, and not so much
// longer as the long poll of twenty seconds is that some cases have to end.
func (w *world) took(want time.Duration, f func()) {
	w.Helper()
	least, most := want, want
	if w.remote != nil {
		least, most = want-w.margin(), want+15*time.Second
	}
	start := time.Now()
	f()
	if got := time.Since(start); got < least || got > most {
		w.Errorf("took %v, want %v", got, want)
	}
}

// recent is "now" for a timestamp, counted in units since 1970, of the last seconds, and otherwise the timestamp.
func (w *world) recent(text string, unit time.Duration) string {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || time.Since(time.Unix(0, n*int64(unit))).Abs() > 10*time.Second {
		return text
	}
	return "now"
}

type attrs = map[string]string

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// fifo makes a FIFO queue named q.fifo.
func (w *world) fifo(attributes ...attrs) string {
	w.Helper()
	return w.queue("q.fifo", attributes...)
}

// standard makes a standard queue named q.
func (w *world) standard(attributes ...attrs) string {
	w.Helper()
	return w.queue("q", attributes...)
}

func (w *world) queue(name string, attributes ...attrs) string {
	w.Helper()
	url, err := w.tryQueue(name, attributes...)
	w.must(err)
	return url
}

func (w *world) tryQueue(name string, attributes ...attrs) (string, error) {
	all := attrs{}
	if strings.HasSuffix(name, ".fifo") {
		all["FifoQueue"] = "true"
	}
	for _, a := range attributes {
		maps.Copy(all, a)
	}
	out, err := w.sqs.CreateQueue(w.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: all})
	if err != nil {
		return "", err
	}
	return *out.QueueUrl, nil
}

func (w *world) attributes(url string, names ...sqstypes.QueueAttributeName) attrs {
	w.Helper()
	out, err := w.sqs.GetQueueAttributes(w.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: names})
	w.must(err)
	return out.Attributes
}

func (w *world) trySet(url string, attributes attrs) error {
	_, err := w.sqs.SetQueueAttributes(w.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: attributes})
	return err
}

func (w *world) set(url string, attributes attrs) {
	w.Helper()
	w.must(w.trySet(url, attributes))
}

type sent = *sqs.SendMessageOutput

// option changes a send.
type option func(*sqs.SendMessageInput)

func withDedup(id string) option {
	return func(in *sqs.SendMessageInput) { in.MessageDeduplicationId = &id }
}

func withoutDedup(in *sqs.SendMessageInput) { in.MessageDeduplicationId = nil }

func withDelay(seconds int32) option {
	return func(in *sqs.SendMessageInput) { in.DelaySeconds = seconds }
}

func withAttribute(name, kind, value string) option {
	return func(in *sqs.SendMessageInput) {
		if in.MessageAttributes == nil {
			in.MessageAttributes = map[string]sqstypes.MessageAttributeValue{}
		}
		in.MessageAttributes[name] = sqstypes.MessageAttributeValue{DataType: &kind, StringValue: &value}
	}
}

// trySend sends "body" or "body@group". On FIFO queues the body is the deduplication ID too.
func (w *world) trySend(url, message string, options ...option) (sent, error) {
	body, group, grouped := strings.Cut(message, "@")
	in := &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}
	if grouped {
		in.MessageGroupId = &group
	}
	if strings.HasSuffix(url, ".fifo") {
		in.MessageDeduplicationId = aws.String(body + "-" + group)
	}
	for _, o := range options {
		o(in)
	}
	return w.sqs.SendMessage(w.Context(), in)
}

func (w *world) send(url, message string, options ...option) sent {
	w.Helper()
	out, err := w.trySend(url, message, options...)
	w.must(err)
	return out
}

func (w *world) sendAll(url string, messages ...string) {
	w.Helper()
	for _, m := range messages {
		w.send(url, m)
	}
}

type message = sqstypes.Message

// asking changes a receive.
type asking func(*sqs.ReceiveMessageInput)

func visibleAfter(seconds int32) asking {
	return func(in *sqs.ReceiveMessageInput) { in.VisibilityTimeout = seconds }
}

func waiting(seconds int32) asking {
	return func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = seconds }
}

func attempt(id string) asking {
	return func(in *sqs.ReceiveMessageInput) { in.ReceiveRequestAttemptId = &id }
}

func (w *world) tryReceive(url string, n int32, options ...asking) ([]message, error) {
	in := &sqs.ReceiveMessageInput{
		QueueUrl:                    &url,
		MaxNumberOfMessages:         n,
		MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"All"},
		MessageAttributeNames:       []string{"All"},
	}
	for _, o := range options {
		o(in)
	}
	out, err := w.sqs.ReceiveMessage(w.Context(), in)
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

func (w *world) receive(url string, n int32, options ...asking) []message {
	w.Helper()
	messages, err := w.tryReceive(url, n, options...)
	w.must(err)
	return messages
}

// names are the received messages as "body@group", in order.
func names(messages []message) []string {
	all := []string{}
	for _, m := range messages {
		name := *m.Body
		if group, ok := m.Attributes["MessageGroupId"]; ok {
			name += "@" + group
		}
		all = append(all, name)
	}
	return all
}

// gets receives up to ten messages and compares them with what is wanted, in order.
func (w *world) gets(url string, want ...string) []message {
	w.Helper()
	messages := w.receive(url, 10)
	w.are(messages, want...)
	return messages
}

func (w *world) are(messages []message, want ...string) {
	w.Helper()
	if got := names(messages); !slices.Equal(got, want) {
		w.Fatalf("received %q, want %q", got, want)
	}
}

func (w *world) tryDelete(url string, m message) error {
	_, err := w.sqs.DeleteMessage(w.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle})
	return err
}

func (w *world) delete(url string, messages ...message) {
	w.Helper()
	for _, m := range messages {
		w.must(w.tryDelete(url, m))
	}
}

func (w *world) tryHide(url string, m message, seconds int32) error {
	_, err := w.sqs.ChangeMessageVisibility(w.Context(), &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds,
	})
	return err
}

func (w *world) hide(url string, m message, seconds int32) {
	w.Helper()
	w.must(w.tryHide(url, m, seconds))
}

// holds compares what a queue holds: available, in flight, delayed.
func (w *world) holds(name string, visible, inFlight, delayed int) {
	w.Helper()
	if w.remote != nil {
		w.remoteHolds(name, fmt.Sprint(visible, inFlight, delayed))
		return
	}
	for _, s := range w.engine.Queues() {
		if s.Name == name {
			got, want := fmt.Sprint(s.Visible, s.InFlight, s.Delayed), fmt.Sprint(visible, inFlight, delayed)
			if got != want {
				w.Fatalf("%s holds %s (available, in flight, delayed), want %s", name, got, want)
			}
			return
		}
	}
	w.Fatalf("there is no queue %s", name)
}

// refused compares an API error's code and text; a text is compared as far as it is given.
func (w *world) refused(err error, code, text string) {
	w.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		w.Fatalf("got error %v, want %s", err, code)
	}
	if api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		w.Fatalf("got error %s: %s\nwant %s: %s", api.ErrorCode(), api.ErrorMessage(), code, text)
	}
}

func (w *world) topic(name string, attributes ...attrs) string {
	w.Helper()
	arn, err := w.tryTopic(name, attributes...)
	w.must(err)
	return arn
}

func (w *world) tryTopic(name string, attributes ...attrs) (string, error) {
	all := attrs{}
	if strings.HasSuffix(name, ".fifo") {
		all["FifoTopic"] = "true"
	}
	for _, a := range attributes {
		maps.Copy(all, a)
	}
	out, err := w.sns.CreateTopic(w.Context(), &sns.CreateTopicInput{Name: &name, Attributes: all})
	if err != nil {
		return "", err
	}
	return *out.TopicArn, nil
}

func (w *world) trySubscribe(topicARN, queueName string, attributes ...attrs) (string, error) {
	if w.remote != nil {
		w.allow(topicARN, queueName)
	}
	all := attrs{}
	for _, a := range attributes {
		maps.Copy(all, a)
	}
	out, err := w.sns.Subscribe(w.Context(), &sns.SubscribeInput{
		TopicArn: &topicARN, Protocol: aws.String("sqs"), Endpoint: aws.String(arnPrefix + queueName), Attributes: all,
	})
	if err != nil {
		return "", err
	}
	return *out.SubscriptionArn, nil
}

func (w *world) subscribe(topicARN, queueName string, attributes ...attrs) string {
	w.Helper()
	arn, err := w.trySubscribe(topicARN, queueName, attributes...)
	w.must(err)
	return arn
}

var raw = attrs{"RawMessageDelivery": "true"}

// pub changes a publish.
type pub func(*sns.PublishInput)

func pubAttribute(name, kind, value string) pub {
	return func(in *sns.PublishInput) {
		if in.MessageAttributes == nil {
			in.MessageAttributes = map[string]snstypes.MessageAttributeValue{}
		}
		in.MessageAttributes[name] = snstypes.MessageAttributeValue{DataType: &kind, StringValue: &value}
	}
}

func pubDedup(id string) pub {
	return func(in *sns.PublishInput) { in.MessageDeduplicationId = &id }
}

func pubWithoutDedup(in *sns.PublishInput) { in.MessageDeduplicationId = nil }

// tryPublish publishes "text" or "text@group". On FIFO topics the text is the deduplication ID too.
func (w *world) tryPublish(topicARN, message string, options ...pub) (*sns.PublishOutput, error) {
	text, group, grouped := strings.Cut(message, "@")
	in := &sns.PublishInput{TopicArn: &topicARN, Message: &text}
	if grouped {
		in.MessageGroupId = &group
	}
	if strings.HasSuffix(topicARN, ".fifo") {
		in.MessageDeduplicationId = aws.String(text + "-" + group)
	}
	for _, o := range options {
		o(in)
	}
	return w.sns.Publish(w.Context(), in)
}

func (w *world) publish(topicARN, message string, options ...pub) *sns.PublishOutput {
	w.Helper()
	out, err := w.tryPublish(topicARN, message, options...)
	w.must(err)
	return out
}
