// Package producer publishes device events to the fan-out's SNS FIFO topic: each event once, in order per device.
//
//	p, err := producer.New(snsClient, topicARN, producer.Config{Source: "gateway/hall", Spool: "/var/lib/gateway/spool"})
//	…
//	err = p.Publish(ctx, events.New("lamp-7", device.PowerChanged{On: true})) // nil: the event is safe
//	…
//	err = p.Close(ctx) // sends what is buffered
//
// # The path of one event
//
// The event is validated, encoded and measured. It is accepted into the lane of its device, where it gets its
// sequence, and waits there behind the device's earlier events. With a spool it is written to disk meanwhile, together with all that
// came at the same time. When its turn has come it goes out in a batch with events of up to nine other devices. It is confirmed once
// the topic has answered for that very entry, and the spool forgets it.
//
// # What is safe, and what is promised
//
// [Producer.Publish] returns nil once the event is safe: confirmed by the topic or, with [Config].Spool, on disk. What is safe
// reaches the topic at least once, in the order of acceptance per device, with a deduplication ID that follows from
// its identity, see [events.Identity].Key.
//
// # Order
//
// A device has at most one unresolved event at the topic. SNS answers a batch entry by entry, so that a later event
// of a device could succeed where an earlier one failed; nothing could mend that afterwards. The price is that one
// device reaches one event per round trip: 100 events a second at 10 ms, whatever the settings. SNS itself allows 300 a second for a
// message group. Throughput comes from many devices, which never wait for each other.
//
// # Failures
//
// An entry that was throttled, refused for the moment, not mentioned in the answer or lost with its connection is sent again
// with the same deduplication ID, after a growing delay, for as long as [Config].GiveUpAfter allows. That bound lies
// well inside the five minutes in which SNS recognizes a deduplication ID, so that an unknown outcome is never sent twice as
// two messages. Then the event fails with a [*PublishError], which has [ErrUnknownOutcome] in its chain unless every attempt is known
// to have failed. Meanwhile the device's later events wait; no other device does.
//
// An entry that is refused for good fails with a [*PublishError] at once. [Config].OnFailure says what becomes of the events
// behind one that has failed: with [Gapless], the default, they fail with a [*BlockedError] that names it, in order, and a caller who
// cares publishes all of them again; with [Skip] they go out without it.
//
// With a spool nothing is given up: an event is safe, so it is sent again until the topic takes it, also when permissions or the topic
// itself are missing for hours. An event of unknown outcome that is sent again after more than five minutes, or by the next process,
// may be a second message; services know events by their identity. Only what SNS refuses because of the event itself is set aside, and
// with [Gapless] what was waiting behind it: in aside/refused.ndjson, a line each, whose member event can be published again as it is.
// Should the process end meanwhile, the next one begins anew with the event that was refused, and some may stand there twice.
//
// # Load
//
// A batch is sent at once while none is under way. While one is, events gather: the next leaves when it is full, or when the
// one before has returned, or when its oldest event has waited for a typical round trip. So latency is low at low load and
// batches are full at high load, without a fixed delay. How many batches are under way follows what is waiting, up to
// [Config].MaxBatches; when SNS throttles whole requests, or four in a row get no answer, all devices slow down together, and when it
// throttles an entry, that device alone does. The SDK's HTTP client keeps ten idle connections, and makes new ones all the time when
// more batches are under way; a gateway with much to say gives it more:
//
//	client := sns.NewFromConfig(cfg, func(o *sns.Options) {
//		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
//			t.MaxIdleConnsPerHost = producer.DefaultMaxBatches
//		})
//	})
//
// The buffer is bounded, in all and for every device, and so is the spool. [Producer.Publish] and [Producer.Enqueue] wait for room;
// [Producer.TryEnqueue] does not.
//
// # The spool
//
// A folder that one Producer at a time has open. Events wait there when the network is down, as many as [Config].SpoolBytes holds;
// in memory are [Config].Buffer of them, and for each other one the eight bytes of where it stands, and about a hundred
// bytes for each device that has any. The next Producer on the folder sends what the last has left, in order, with the old IDs.
//
// Writes are grouped: while one is forced to the disk, the next gathers. [Config].SpoolSync says what a loss of power may
// cost. When the disk is full, an event is refused with a [*SpoolError], with [Gapless] those that were accepted behind it meanwhile with a
// [*BlockedError], and nothing else happens: what is confirmed makes room, also for a process that starts on a full disk. So it is when the
// folder is deleted or renamed, or its volume is no longer mounted: before an event is accepted the Producer looks whether a restart would find
// it. [Stats].SpoolErr says why events are refused.
// A record that a crash left half-written was never accepted; a damaged one is set aside and reported with its file and offset, as a
// [*CorruptRecordError] in the log and to [Hooks].SetAside, and costs no other event. So is what the disk cannot read when a Producer
// starts; its file stays. What it cannot read later keeps its device waiting, and is tried again every five seconds.
//
// Several processes may share a folder with a spool for each: [NewInSlot]. Whoever takes a spool writes its name into the lock. Before an event is
// accepted, a Producer looks for its own there: a network file system gives up the lock of a host that it has not heard of for a while.
//
// Files go as a whole, once all their events are confirmed. A device in trouble that goes on sending keeps files for a few events in
// each; when it keeps more than a quarter of the spool, and that much is confirmed events, it is refused until it moves on.
//
// It is a log of our own, in the package internal/spool. Of what exists, bbolt is the best kept, but a damaged page there costs more
// than one event and names none, and its file never shrinks; the log libraries forget only from the front, so that one device that is
// stuck would keep everybody's events.
//
// # Bad input and its errors
//
//	an event of an unregistered type      InvalidError, whose events.Error has the code unknown_type
//	no payload, or a nil pointer          InvalidError: data
//	NaN, infinity, bytes that are no UTF-8  InvalidError: the field's path
//	a device ID with a space, or too long InvalidError: subject
//	a time too far back or ahead          InvalidError: time, only with MaxPast or MaxFuture
//	a message over the topic's limit      TooLargeError
//	a full buffer, from TryEnqueue        ErrBufferFull
//	a closed producer                     ErrClosed
//	a context that ended before acceptance  its own error; the event is not sent
//	a context that ended after acceptance PublishError with ErrUnknownOutcome; the event is sent all the same
//	an ARN that is no FIFO topic's        an error from New
//	a topic that is not there, no permission,
//	wrong credentials or a wrong clock    sent again for GiveUpAfter, then PublishError with the code; with a spool the event waits
//	a spool in use                        SpoolError with ErrSpoolLocked, from New
//	a disk that is full or broken         SpoolError with the system's error
//
// An InvalidError lists every bad field at once. Characters that SNS and SQS do not carry are escaped in JSON, not refused. When the clock
// jumps back, sequences go on rising, and deadlines are measured without it.
//
// # Watching it
//
// [Producer.Stats] counts, [Hooks] tell of every step, and the package producer/telemetry makes spans and metrics of them.
package producer
