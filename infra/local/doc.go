// Package local is Amazon SNS and SQS in one process, for a laptop and for tests. It keeps everything in memory and
// nothing on disk, checks no credentials, and is no substitute for the real thing in production.
//
// An engine is used without sockets, by clients of the AWS SDK whose transport leads straight into it:
//
//	engine := local.New(local.Options{})
//	topics, queues := engine.SNS(), engine.SQS()
//
// or as a server on loopback, by any client that can be given an endpoint:
//
//	url, err := engine.Listen("127.0.0.1:4566")
//	defer engine.Close()
//
// Without sockets it also works inside testing/synctest: nothing waits but on channels and timers, no lock is held
// while waiting, and no goroutine runs on its own account. Five minutes or four days then pass in no time.
//
// # What it is true to
//
//   - FIFO groups: while a message of a group is in flight, what stands behind it in the group is withheld from
//     everybody, and only that. One rule does it all; it stands in the package queue.
//   - Deduplication: five minutes from the first acceptance, on topics and on queues, with both scopes. Receiving or
//     deleting the message does not shorten it. A duplicate is answered like the original.
//   - Visibility, receive counts, receive attempts, and receipt handles that expire: on a FIFO queue an expired handle
//     neither deletes nor extends.
//   - Redrive policies: a message moves at the receive that would be one too many, keeps its ID, body and attributes,
//     and its group goes on.
//   - Retention counts from each message's own send time.
//   - Long polls are answered at once: by a send, by the delete that frees a group, by the end of a visibility timeout
//     or of a delay. Those who came first are served first.
//   - Filter policies on attributes and on bodies, raw and wrapped delivery, dead-letter queues of subscriptions.
//   - Limits, checks, error codes and their texts.
//
// # Where it differs, by choice
//
// Counters are exact, and changes take effect at once, where AWS takes up to a minute. Order between groups, and on
// standard queues, is that of arrival; AWS promises none, so nobody should rely on it. Throughput has no limits.
// Publishing delivers before it returns. A subscription needs no queue policy. A queue's dead-letter queue can be
// deleted; the queue then goes on delivering. The deduplication scope of a queue is fixed when it is made, as has been
// seen on AWS, whatever the attribute says later. A message that moves to a FIFO dead-letter queue counts as sent then.
// A long poll whose caller gives up takes no messages, except in the very moment in which they are handed over.
//
// # What is not supported
//
// A request for one of these is refused with an error that says so; nothing is accepted and then ignored:
//
//   - SQS: StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask, AddPermission, RemovePermission.
//   - SNS: subscriptions of other protocols than sqs, AddPermission, RemovePermission, ConfirmSubscription, archive and
//     replay, data protection, everything about mobile push and SMS.
//   - Filter policies: "wildcard", and "anything-but" with anything else than values or a prefix.
//
// Policies, KMS keys, tracing and delivery policies are stored and shown but have no effect. Signatures of
// notifications are not real. The answer to a Query request is always XML, also when the client would accept JSON.
//
// # Trouble on request
//
// [Engine.Faults] makes it misbehave by rules: fail an entry of a batch, throttle, answer 500, lose an answer after
// acting, end a visibility timeout at once. [Engine.ExpireVisibility] takes messages away from whoever holds them.
// [Engine.Requests] and [Engine.Entries] count what was asked of it, [Engine.Queues] tells what the queues hold.
package local
