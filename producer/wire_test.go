package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
)

// A request is one request on the wire, whatever becomes of it. The SDK's own retries would send its bytes again out of sight of
// GiveUpAfter, and without regard to the pace.
func TestWire_AFailedRequestIsOne(t *testing.T) {
	t.Parallel()
	for name, trouble := range troubles {
		if trouble.rule.Kind == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				trouble.rule.Action, trouble.rule.Count = "PublishBatch", 3
				w.Engine.Faults().Add(trouble.rule)
				p := w.producer(t, w.SNS, producer.Config{})
				if err := p.Publish(t.Context(), motion("d1", "e1")); err != nil {
					t.Fatal(err)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if made, s := w.Engine.Requests()["sns.PublishBatch"], p.Stats(); made != s.Batches || made != 4 {
					t.Errorf("%d requests on the wire and %d batches, want 4 of each: three that failed, and one", made, s.Batches)
				}
			})
		})
	}
}

// worded is an event of a device with that many characters of text, of three bytes each.
func worded(deviceID, id string, characters, source int) events.Event {
	e := events.New(deviceID, device.ConnectivityChanged{Reason: strings.Repeat("€", characters)})
	e.ID, e.Source = id, strings.Repeat("s", source)
	return e
}

// sizes are those of a message: the bytes that count, and the characters, which do not.
func sizes(m snstypes.PublishBatchRequestEntry) (size, characters int) {
	size, characters = len(*m.Message), utf8.RuneCountInString(*m.Message)
	for name, v := range m.MessageAttributes {
		size += len(name) + len(*v.DataType) + len(*v.StringValue)
		characters += utf8.RuneCountInString(name + *v.DataType + *v.StringValue)
	}
	return size, characters
}

// spy remembers the requests that are made to a topic.
type spy struct {
	producer.TopicAPI
	mu       sync.Mutex
	requests [][]snstypes.PublishBatchRequestEntry
	hold     chan struct{} // nil, or the first request waits until it is closed
}

func (s *spy) PublishBatch(ctx context.Context, in *sns.PublishBatchInput, o ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	s.mu.Lock()
	s.requests = append(s.requests, in.PublishBatchRequestEntries)
	first := len(s.requests) == 1
	s.mu.Unlock()
	if first && s.hold != nil {
		<-s.hold
	}
	return s.TopicAPI.PublishBatch(ctx, in, o...)
}

// TestWire_SizesAreInBytes: what the producer takes, the topic takes, up to the last byte, and what the topic would refuse is refused
// before it is accepted. Characters of more than one byte are what tells the two ways to count apart.
func TestWire_SizesAreInBytes(t *testing.T) {
	t.Parallel()
	const most = 1024 // the least that SNS allows
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, err := w.SNS.SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{
			TopicArn: &w.topic, AttributeName: aws.String("MaximumMessageSize"), AttributeValue: aws.String(strconv.Itoa(most)),
		})
		if err != nil {
			t.Fatal(err)
		}
		api := &spy{TopicAPI: w.SNS}
		p := w.producer(t, api, producer.Config{MaxMessageBytes: most})
		var large *producer.TooLargeError
		sent := 0
		for source := 1; source < 512; source++ { // it counts twice, in the body and as an attribute
			err := p.Publish(t.Context(), worded("d1", fmt.Sprintf("e%03d", source), 150, source))
			if errors.As(err, &large) {
				break
			}
			if err != nil {
				t.Fatalf("with a source of %d characters: %v, want the topic to take it or the producer to refuse it", source, err)
			}
			sent++
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sent == 0 || large == nil {
			t.Fatalf("%d events were sent, and none was too large", sent)
		}
		size, characters := sizes(api.requests[sent-1][0])
		if size > most || size+2 <= most || characters > most-200 {
			t.Errorf("the largest message has %d bytes and %d characters, want up to %d bytes", size, characters, most)
		}
		if large.Bytes != size+2 || large.MaxBytes != most {
			t.Errorf("got %+v, want the next one refused, which has %d bytes", large, size+2)
		}
	})
}

// TestWire_ABatchIsBoundedInBytes: ten events of ten devices that are together more than a request may carry go in several.
func TestWire_ABatchIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	const most = 4096
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, err := w.SNS.SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{
			TopicArn: &w.topic, AttributeName: aws.String("MaximumMessageSize"), AttributeValue: aws.String(strconv.Itoa(most)),
		})
		if err != nil {
			t.Fatal(err)
		}
		api := &spy{TopicAPI: w.SNS, hold: make(chan struct{})}
		p := w.producer(t, api, producer.Config{MaxMessageBytes: most})
		for i := range 21 { // the first goes alone, and those that wait for it fill batches
			err := p.Enqueue(t.Context(), worded(fmt.Sprintf("d%02d", i), fmt.Sprintf("e%02d", i), 150, 100), func(r producer.Result) {
				if r.Err != nil {
					t.Errorf("event %s: %v", r.Event.ID, r.Err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		close(api.hold)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		fullest := 0
		for i, entries := range api.requests {
			all := 0
			for _, e := range entries {
				size, _ := sizes(e)
				all += size
			}
			if all > most {
				t.Errorf("request %d has %d entries of %d bytes together, want at most %d", i, len(entries), all, most)
			}
			fullest = max(fullest, len(entries))
		}
		if fullest < 2 || fullest >= producer.MaxBatchEntries {
			t.Errorf("the fullest request has %d entries, want several and fewer than %d", fullest, producer.MaxBatchEntries)
		}
		if s := p.Stats(); s.Confirmed != 21 || s.Retried != 0 {
			t.Errorf("got %+v, want all confirmed at once", s)
		}
	})
}

// TestWire_TheDefaultLimitIsTheTopics: a producer that is told nothing takes what a topic that was told nothing takes.
func TestWire_TheDefaultLimitIsTheTopics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		send := func(id string, size int) error {
			_, err := w.SNS.Publish(t.Context(), &sns.PublishInput{
				TopicArn: &w.topic, Message: aws.String(strings.Repeat("m", size)), MessageGroupId: aws.String("g"), MessageDeduplicationId: &id,
			})
			return err
		}
		if err := send("largest", producer.DefaultMaxMessageBytes); err != nil {
			t.Errorf("a message of the default limit: %v", err)
		}
		if err := send("larger", producer.DefaultMaxMessageBytes+1); err == nil {
			t.Error("the topic takes one byte more than the default limit")
		}
	})
}

// TestWire_GivesUpInsideTheDeduplicationWindow: whatever a program asks for. The reply of the first request is lost, and nothing reaches
// the topic until the longest time that a configuration may set is nearly over; with the window past, the event would be there twice.
func TestWire_GivesUpInsideTheDeduplicationWindow(t *testing.T) {
	t.Parallel()
	const window = 5 * time.Minute // see https://docs.aws.amazon.com/sns/latest/dg/fifo-message-dedup.html
	// The longest request that may begin at the end of the longest time ends inside the window.
	longest := time.Duration(0)
	for d := time.Second; d <= 2*window; d += time.Second {
		if _, err := producer.New(nowhere{}, "arn:aws:sns:eu-central-1:000000000000:t.fifo", producer.Config{GiveUpAfter: d}); err == nil {
			longest = d
		}
	}
	request := time.Duration(0)
	for d := time.Second; d <= window; d += time.Second {
		if _, err := producer.New(nowhere{}, "arn:aws:sns:eu-central-1:000000000000:t.fifo", producer.Config{RequestTimeout: d}); err == nil {
			request = d
		}
	}
	if longest != producer.MaxGiveUpAfter || longest+request > window {
		t.Errorf("GiveUpAfter may be up to %v (MaxGiveUpAfter %v) and RequestTimeout up to %v, want them inside %v together", longest, producer.MaxGiveUpAfter, request, window)
	}
	for _, back := range []time.Duration{producer.DefaultGiveUpAfter, longest - time.Second, longest, window, window + time.Minute} {
		t.Run(back.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Engine.Faults().Add(faults.Rule{Kind: faults.DropReply, Action: "PublishBatch", Count: 1})
				w.Engine.Faults().Add(faults.Rule{Kind: faults.CloseConnection, Action: "PublishBatch", For: back})
				p := w.producer(t, w.SNS, producer.Config{GiveUpAfter: longest})
				err := p.Publish(t.Context(), motion("d1", "e1"))
				if err != nil && !errors.Is(err, producer.ErrUnknownOutcome) {
					t.Errorf("got %v, want it published, or an outcome that nobody knows", err)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, queue := range w.queues {
					if n := w.visible(queue); n != 1 {
						t.Errorf("%s has %d messages of one event", queue, n)
					}
				}
			})
		})
	}
}

type nowhere struct{ producer.TopicAPI }
