package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/internal/batch"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Limits of SQS for a message and for a batch.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
const (
	maxAttributes   = 10
	maxMessageBytes = 1 << 20
)

// senderBatches is how many batches of one sender are under way at once. Fewer make fuller batches.
const senderBatches = 4

// errNoTime says that a message must be received again before it can be handled.
var errNoTime = errors.New("deadletter: the message becomes visible to others before a request for it could end")

// outgoing is a message for a queue.
type outgoing struct {
	group, dedup, body string
	attributes         map[string]types.MessageAttributeValue
	deadline           time.Time // no request is made that could end after it
}

// sender sends messages to one queue, those of several callers in one request. A caller waits for the result of its own message. So no
// request has two messages of a device, and a failed entry can't change the order.
type sender struct {
	api  QueueAPI
	url  string
	jobs chan *sendJob
	done chan struct{} // closed when everything has been answered
}

type sendJob struct {
	outgoing
	bytes int
	reply chan sendResult
}

type sendResult struct {
	messageID string
	err       error
}

// newSender starts a sender. It ends with close.
func newSender(api QueueAPI, url string) *sender {
	s := &sender{api: api, url: url, jobs: make(chan *sendJob), done: make(chan struct{})}
	go s.run()
	return s
}

// close waits for what is under way. Nobody may send any more.
func (s *sender) close() {
	close(s.jobs)
	<-s.done
}

// send sends one message, waits until the queue has confirmed it and returns its message ID there. After an error the message may be in
// the queue all the same: for five minutes the same deduplication ID prevents a second one.
func (s *sender) send(m outgoing) (messageID string, err error) {
	job := &sendJob{outgoing: m, bytes: messageBytes(m.body, m.attributes), reply: make(chan sendResult, 1)}
	s.jobs <- job
	result := <-job.reply
	return result.messageID, result.err
}

// sendAtOnce sends up to ten messages of one group in one request, without a retry. SQS keeps their order. After an error some may be in
// the queue and others not.
func (s *sender) sendAtOnce(messages []outgoing) error {
	jobs := make([]*sendJob, len(messages))
	for i, m := range messages {
		jobs[i] = &sendJob{outgoing: m, reply: make(chan sendResult, 1)}
	}
	s.once(jobs, true, false)
	for _, job := range jobs {
		if result := <-job.reply; result.err != nil {
			return result.err
		}
	}
	return nil
}

func (s *sender) run() {
	defer close(s.done)
	var wait sync.WaitGroup
	defer wait.Wait()
	slots := make(chan struct{}, senderBatches)
	var next *sendJob
	for {
		slots <- struct{}{} // meanwhile more callers come
		first := next
		next = nil
		if first == nil {
			var ok bool
			if first, ok = <-s.jobs; !ok {
				return
			}
		}
		batch, bytes := []*sendJob{first}, first.bytes
	gather:
		for len(batch) < batchSize {
			select {
			case job, ok := <-s.jobs:
				if !ok {
					break gather
				}
				if bytes+job.bytes > maxMessageBytes {
					next = job
					break gather
				}
				batch, bytes = append(batch, job), bytes+job.bytes
			default:
				break gather
			}
		}
		wait.Go(func() {
			s.deliver(batch)
			<-slots
		})
	}
}

// deliver sends a batch until every entry is confirmed or refused, or its deadline is too near for another try.
func (s *sender) deliver(batch []*sendJob) {
	for try := 1; len(batch) > 0; try++ {
		batch = slices.DeleteFunc(batch, func(job *sendJob) bool {
			late := time.Until(job.deadline) < requestTimeout
			if late {
				job.reply <- sendResult{err: errNoTime}
			}
			return late
		})
		if len(batch) == 0 {
			return
		}
		if batch = s.once(batch, try == tries, true); len(batch) > 0 {
			time.Sleep(pause.After(try))
		}
	}
}

// once makes one request and replies to the callers whose entries need no other try. It returns the others; if this is the last try, none.
// If the request as a whole was refused for one of its messages, nobody knows for which: with alone each is then delivered by itself.
func (s *sender) once(jobs []*sendJob, last, alone bool) (again []*sendJob) {
	// No caller's context cancels the request, because a canceled request may have been carried out.
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	entries := make([]types.SendMessageBatchRequestEntry, len(jobs))
	for i, job := range jobs {
		entries[i] = types.SendMessageBatchRequestEntry{MessageBody: &job.body, MessageAttributes: job.attributes}
		if strings.HasSuffix(s.url, ".fifo") {
			entries[i].MessageGroupId, entries[i].MessageDeduplicationId = &job.group, &job.dedup
		}
	}
	for i, a := range batch.Send(ctx, s.api, s.url, entries, batch.Once) {
		if alone && len(jobs) > 1 && a.Whole && a.Class == awsx.Final {
			s.deliver(jobs[i : i+1 : i+1])
			continue
		}
		if a.Again() && !last {
			again = append(again, jobs[i])
			continue
		}
		jobs[i].reply <- sendResult{a.MessageID, a.Err}
	}
	return again
}

// messageBytes is the size of a message as SQS counts it.
func messageBytes(body string, attributes map[string]types.MessageAttributeValue) int {
	n := len(body)
	for name, value := range attributes {
		n += awsx.AttributeBytes(name, aws.ToString(value.DataType), len(aws.ToString(value.StringValue))+len(value.BinaryValue))
	}
	return n
}

// directory finds queues by name and keeps a sender for each.
type directory struct {
	api QueueAPI

	mu     sync.Mutex
	queues map[string]*entry // by queue name
}

// entry is a queue and its sender. They are known when done is closed.
type entry struct {
	done   chan struct{}
	sender *sender
	err    error
}

func newDirectory(api QueueAPI) *directory {
	return &directory{api: api, queues: map[string]*entry{}}
}

// to returns the sender for a queue. Calls at the same time share one look-up, and its error; after an error that may pass the next call
// looks again.
func (d *directory) to(name string) (*sender, error) {
	d.mu.Lock()
	e, asked := d.queues[name]
	if !asked {
		e = &entry{done: make(chan struct{})}
		d.queues[name] = e
	}
	d.mu.Unlock()
	if asked {
		<-e.done
		return e.sender, e.err
	}
	defer close(e.done)
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	out, err := d.api.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		e.err = fmt.Errorf("deadletter: find queue %q: %w", name, err)
		if awsx.VerdictOf(err).Again() {
			d.mu.Lock()
			delete(d.queues, name)
			d.mu.Unlock()
		}
		return nil, e.err
	}
	e.sender = newSender(d.api, aws.ToString(out.QueueUrl))
	return e.sender, nil
}

// close stops the senders. Nobody may call to any more.
func (d *directory) close() {
	for _, e := range d.queues {
		if e.sender != nil {
			e.sender.close()
		}
	}
}
