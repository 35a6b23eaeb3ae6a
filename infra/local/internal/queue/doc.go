// Package queue is Amazon SQS without its protocols: queues, messages, locks and clocks in memory.
//
// # One rule
//
// Everything that is special about a FIFO queue follows from one rule, which stands in fifo.go:
//
//	A message is deliverable if and only if it is visible (not in flight, not delayed, not expired) and every earlier,
//	not yet deleted message of its group is visible too. A receive walks the groups and takes, from each group in
//	sequence order, its leading run of visible messages, until it has as many as it may take.
//
// So a group is locked while one of its messages is in flight, and free again at once when the last of them is
// deleted, when its visibility ends or when it moves to the dead-letter queue.
//
// # Shape
//
// A [Service] holds the queues of one account. A [Queue] holds
//
//   - messages: small structs that share their [Content] with the other copies of a fanned-out message;
//   - an order: groups in rotation (FIFO) or one plain list (standard). Only groups that have something to deliver
//     are in the rotation, so a blocked group costs nothing, however many messages wait in it;
//   - a schedule: a heap of the messages that are not visible, by the moment at which they will be;
//   - an age list: all messages by send time, for retention, which counts from each message's own send time;
//   - waiters: the long polls, first come first served, which are handed messages directly.
//
// # Time
//
// Time only matters when somebody looks. Every call first brings the queue up to date, and a timer runs only while a
// long poll waits. So an idle queue has no timer, and no goroutine belongs to a queue.
//
// # Locking
//
// One mutex guards all queues of a service. A move to a dead-letter queue touches two queues, dead-letter policies may
// form cycles, and a reader of all depths wants one moment in time: with one mutex that held for microseconds, all
// three are plain. Nothing waits while holding it. Hashing, validation and copying happen outside.
package queue
