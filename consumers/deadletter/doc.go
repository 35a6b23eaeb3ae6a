// Package deadletter handles dead letters: the [Record] that says why an event is one, reading a dead-letter queue, and sending events
// back.
//
// # Reading
//
// SQS can't show a message without a receive, which hides it and raises its receive count. So [Scan] receives all messages with a short
// visibility timeout, passes them to its caller, and makes them visible again, the last of each device first. It does not see messages that
// another reader holds, nor those behind them in the same group.
//
// # Redrive
//
// [Redrive] sends a selection back to the queue that each event came from, never to the topic, where every service would
// get it again. The order of each device is kept: once an event could not be sent, the later ones of its device stay, and other devices go
// on. A message is deleted only after its send was confirmed. Its new deduplication ID follows from its message ID in the dead-letter
// queue: a redrive that was killed between send and delete and is run again within five minutes sends no second copy, and the event's own
// deduplication ID, which SQS may still remember, is not used again. After those five minutes a [Journal] knows what was sent.
//
// SQS shows no more than the first ten messages of a group. To reach selected messages behind others, a redrive copies those to the end of
// the dead-letter queue and deletes them, once around through all messages of the device: a rotation. If that is interrupted, the next
// redrive with the same journal completes it before it does anything else to the device.
//
// A redriven event queues up behind newer ones of its device. Services keep it from overwriting newer state by (time, sequence).
package deadletter
