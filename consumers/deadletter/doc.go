// Package deadletter is what there is to know and to do about dead letters: the [Record] that says why an event is one,
// reading a dead-letter queue, and bringing events back.
//
// # Reading
//
// SQS has no way to look without touching: a receive hides what it returns and raises its receive count. [Scan] therefore
// receives everything with a short visibility timeout, hands each message to its caller, and makes all visible again, the last
// of each device first. What another reader holds at the time, and everything behind it in the same group, it cannot see.
//
// # Redrive
//
// [Redrive] sends a selection back to the queue that each event came from, never to the topic, where every service would
// get it again. Per device the order is kept; a device whose event could not be sent is left alone from there on, the
// others go on. A message is deleted only after its send was confirmed. Its new deduplication ID follows from its
// message ID in the dead-letter queue: a redrive that was killed between the two and is run again within five minutes sends
// no second copy, and the event's own deduplication ID, which may still be remembered, is never used again. After those five
// minutes a [Journal] knows.
//
// SQS shows no more than the first ten messages of a group. To reach what a filter selects behind others, a redrive copies those
// to the end of the dead-letter queue and deletes them, one after the other, until all of the device's letters have passed; see
// [Aside]. Whatever interrupts that, the order is put back before anything else happens to the device.
//
// A redriven event queues up behind newer ones of its device. Services keep it from overwriting newer state by (time, sequence).
package deadletter
