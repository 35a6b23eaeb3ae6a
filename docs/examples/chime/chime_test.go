package chime_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/docs/examples/chime"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/producer"
)

// shop is the declaration: one environment, one service.
var shop = topology.New([]byte(`[{"name": "dev"}]`), []topology.Service{
	{Name: "chime", About: "rings", Events: []string{chime.DoorbellPressed{}.EventType()}, HandlerTimeout: 5 * time.Second},
})

// bell is the service under test.
type bell struct {
	rung []string
	away time.Time // until then it does not answer
}

func (b *bell) ring(ctx context.Context, e events.Event, data chime.DoorbellPressed) error {
	if data.Button == "back" {
		return consumers.Known("no_bell", errors.New("there is no bell at the back"))
	}
	if err := b.check(ctx); err != nil {
		return err
	}
	b.rung = append(b.rung, e.DeviceID+" "+data.Button)
	return nil
}

// check tells whether the bell can be rung: whatever fails meanwhile is not the event's fault.
func (b *bell) check(context.Context) error {
	if time.Now().Before(b.away) {
		return errors.New("the bell does not answer")
	}
	return nil
}

// run publishes presses of one door through the whole fan-out, and returns the environment once the service has drained.
func run(t *testing.T, b *bell, trouble []faults.Rule, buttons ...string) *provision.Environment {
	t.Helper()
	fanout := provision.Start(t, shop, "dev", local.Options{})
	for _, rule := range trouble {
		fanout.Engine.Faults().Add(rule)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	var mux consumers.Mux
	consumers.On(&mux, b.ring)
	queue := consumers.Queue{Service: "chime", URL: fanout.Queues["chime"].URL, DLQURL: fanout.Queues["chime"].DLQURL}
	c, err := consumers.New(fanout.SQS, queue, mux.Dispatch, consumers.Config{Check: b.check})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()

	p, err := producer.New(fanout.SNS, fanout.TopicARN, producer.Config{Source: "shop/gateway"})
	if err != nil {
		t.Fatal(err)
	}
	for _, button := range buttons {
		if err := p.Publish(ctx, events.New("door-1", chime.DoorbellPressed{Button: button})); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Minute) // in synctest: no time at all
	stop()
	if err := errors.Join(<-done, p.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return fanout
}

func TestChime_RingsForEveryPress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bell
		run(t, &b, nil, "front", "front")
		if want := []string{"door-1 front", "door-1 front"}; !slices.Equal(b.rung, want) {
			t.Errorf("got %q, want %q", b.rung, want)
		}
	})
}

func TestChime_RingsThoughSNSThrottlesAndAReplyIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bell
		run(t, &b, []faults.Rule{
			{Kind: faults.Throttle, Action: "PublishBatch", For: 10 * time.Second},
			{Kind: faults.DropReply, Action: "PublishBatch", Count: 1},
		}, "front")
		if want := []string{"door-1 front"}; !slices.Equal(b.rung, want) {
			t.Errorf("got %q, want %q", b.rung, want)
		}
	})
}

func TestChime_RefusesTheBackDoorForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bell
		fanout := run(t, &b, nil, "back", "front")
		from := deadletter.Source{Service: "chime", URL: fanout.Queues["chime"].DLQURL}
		var codes []string
		err := deadletter.Scan(t.Context(), fanout.SQS, from, func(l *deadletter.Message) bool {
			codes = append(codes, l.Record.Code)
			return true
		})
		if err != nil || !slices.Equal(codes, []string{"no_bell"}) || len(b.rung) != 1 {
			t.Errorf("got codes %q (%v) and rung %q, want no_bell, and the front door all the same", codes, err, b.rung)
		}
	})
}

func TestChime_WaitsForABellThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bell{away: time.Now().Add(40 * time.Second)}
		fanout := run(t, &b, nil, "front", "front")
		dead, err := deadletter.ReadDepth(t.Context(), fanout.SQS, fanout.Queues["chime"].DLQURL)
		if err != nil || dead.Visible != 0 || len(b.rung) != 2 {
			t.Errorf("got %d dead letters (%v) and rung %q, want none, and every press to ring in the end", dead.Visible, err, b.rung)
		}
	})
}
