// Package producer publishes device events to the fan-out's SNS FIFO topic: each event once, in order per device.
//
//	p, err := producer.New(snsClient, topicARN, producer.Config{Source: "gateway/hall"})
//	…
//	err = p.Publish(ctx, events.New("lamp-7", events.PowerChanged{On: true}))
//	…
//	err = p.Close(ctx) // sends what is buffered
//
// # The path of one event
//
// The event is validated, encoded and measured. It is accepted into the lane of its device, where it gets its
// sequence, and waits there behind the device's earlier events. When its turn has come it goes out in a batch with
// events of up to nine other devices. It is confirmed once the topic has answered for that very entry.
//
// # Order
//
// A device has at most one unresolved event at the topic. SNS answers a batch entry by entry, so that a later event
// of a device could succeed where an earlier one failed; nothing could mend that afterwards. The price is that one
// device reaches one event per round trip; throughput comes from many devices, which never wait for each other.
//
// # Failures
//
// An entry that was throttled, refused for the moment, not answered at all or lost with its connection is sent again
// with the same deduplication ID, after a growing delay, for as long as [Config.GiveUpAfter] allows. That bound lies
// well inside the five minutes in which SNS recognizes a deduplication ID, so that an unknown outcome is never sent twice as
// two messages. Meanwhile the device's later events wait.
//
// An entry that is refused for good fails with a [*PublishError]. The events that were waiting behind it fail with a
// [*BlockedError] naming it, in order, so that no later event overtakes it: a caller who cares publishes all of them again.
//
// # Load
//
// A batch is sent at once while none is under way. While one is, events gather: the next leaves when it is full, or when the
// one before has returned, or when its oldest event has waited for a typical round trip. So latency is low at low load and
// batches are full at high load, without a fixed delay.
//
// The buffer is bounded, in all and for every device. [Producer.Publish] and [Producer.Enqueue] wait for room;
// [Producer.TryEnqueue] does not.
//
// # What it does not do
//
// Events that are accepted and not yet confirmed live in memory: they are lost with the process.
package producer
