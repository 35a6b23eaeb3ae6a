// Package parking records which devices of a service are parked, and releases them.
//
// With [consumers.Park] as its group policy, a service does not go on with a device whose event went to the dead-letter queue:
// the device is parked, and its later events follow to the dead-letter queue, in order and without a handler, until somebody
// has removed the cause and releases it.
//
//	db, err := database.Open(ctx, "postgres://lights@db.example/lights")
//	…
//	store, err := parkingdb.Open(ctx, db) // creates its table
//	c, err := consumers.New(api, queue, handle, consumers.Config{GroupPolicy: consumers.Park, Parking: store})
//
// and for the person on call
//
//	devices, err := store.Find(ctx, "lights") // all that are parked
//	done, err := parking.Release(ctx, store, api, parking.Queues{Service: "lights", URL: url, DLQURL: dlqURL}, "lamp-7")
//
// # Where it is recorded
//
// In a [Store], which all processes of the service share: a table on SQLite or PostgreSQL (package parkingdb), memory for tests ([NewMemory]), or
// anything with a compare-and-swap: the interface has two methods. SQS itself can't tell which devices are in a queue.
//
// The row is written before the dead letter is sent, and the message is deleted after both. Since SQS shows nobody the device's next
// message before that delete, whoever receives it finds the row; a consumer asks once per receive. If a process dies between the steps,
// the message is delivered again and, as its device is parked, goes to the dead-letter queue then.
//
// SQS moves a message by itself whose processes have died maxReceiveCount times. So the row is also written before the last delivery of
// a message is handled, with class moved as its cause, and removed when the handler has succeeded, before the message is deleted.
//
// # Release
//
// A release must bring back the device's dead letters in order, and before the events that are in the queue by now or arrive meanwhile.
// So it goes in three steps:
//
//  1. The row's state becomes [Releasing]. From now on consumers hold the device's live messages instead of moving them, which
//     keeps everything behind them in the queue as well. A dead letter that was being sent just then comes back with the others.
//  2. The device's dead letters are sent back to its service's queue in order, but in a message group of their own ([Group]), so that they
//     don't wait behind what is held. Each is deleted after its send was confirmed.
//  3. A last message in that group, the end mark, follows once the last dead letter that the row names was sent. The consumer that
//     receives it has handled all others, and waits until they are deleted. It removes the row, and what was held runs.
//
// A message that SQS itself has moved is sent before the others: it may be in the group of an earlier release, which SQS does not keep in
// order with the device's own.
//
// If a released event fails again, it and those behind it go back to the dead-letter queue, and at the end mark the device is
// parked as before. Release may be interrupted, killed and run again; until it is complete the device waits in state Releasing.
//
// # What it does not do
//
// It does not make an event come only once. A crash can leave a second copy in the dead-letter queue, and so can a send that takes longer
// than a whole release; that event is then handled twice, in its place. Where the reply to a dead letter is lost just when its device is
// released, and an event before it fails again in that release, its copy stands in the dead-letter queue in front of that event's: the next
// release sends it back first. See package inbox. Dead letters must not be redriven one by one
// while their device is parked: a redriven event is behind the live ones, and follows them to the dead-letter queue again.
package parking
