package database_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/producer"
)

// Eight devices whose handlers take two seconds each, inside their transactions, leave those of a ninth, and each other, the time that a
// handler has: five seconds.
func TestConsumer_SlowWritersSendNobodyToTheDeadLetterQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slow, each = 8, 3
		fanout := provision.Start(t, declaration.Topology(), "dev", local.Options{})
		db := openWithTable(t, databasetest.SQLite(t))
		queues := fanout.Queues["history"]
		handled := make(chan struct{}, (slow+1)*each)
		handle := func(ctx context.Context, e events.Event) error {
			err := db.Write(ctx, func(ctx context.Context, tx database.Tx) error {
				if e.DeviceID != "healthy" {
					time.Sleep(2 * time.Second)
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				_, err := tx.ExecContext(ctx, insertName, e.ID)
				return err
			})
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				t.Errorf("%s: %v", e.DeviceID, err)
			}
			handled <- struct{}{}
			return err
		}
		consumer, err := consumers.New(fanout.SQS, consumers.Queue{Service: "history", URL: queues.URL, DLQURL: queues.DLQURL}, handle,
			consumers.Config{WaitTime: time.Second, HandlerTimeout: 5 * time.Second, Retries: -1})
		if err != nil {
			t.Fatal(err)
		}
		gateway, err := producer.New(fanout.SNS, fanout.TopicARN, producer.Config{Source: "gateway/test"})
		if err != nil {
			t.Fatal(err)
		}
		for n := range each {
			for d := range slow + 1 {
				name := "healthy"
				if d < slow {
					name = fmt.Sprint("slow-", d)
				}
				if err := gateway.Publish(t.Context(), events.New(name, device.TemperatureMeasured{Celsius: float64(n)})); err != nil {
					t.Fatal(err)
				}
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- consumer.Run(ctx) }()
		for range (slow + 1) * each {
			<-handled
		}
		stop()
		if err := errors.Join(<-ended, gateway.Close(context.Background())); err != nil {
			t.Error(err)
		}
		depth, err := deadletter.ReadDepth(t.Context(), fanout.SQS, queues.DLQURL)
		if err != nil || depth.Total() > 0 {
			t.Errorf("dead letters: got %+v, %v, want none", depth, err)
		}
		if got, want := count(t, db), (slow+1)*each; got != want {
			t.Errorf("rows: got %d, want %d", got, want)
		}
	})
}
