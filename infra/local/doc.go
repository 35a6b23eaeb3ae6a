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
// A test takes [Start], which closes the engine with the test.
//
// Without sockets it also works inside testing/synctest: nothing waits but on channels and timers, no lock is held
// while waiting, and no goroutine runs on its own account. Five minutes or four days then pass in no time. Where
// synctest cannot be used, with sockets for example, [NewClock] gives a clock that the test moves by hand.
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
//   - Message move tasks, with their rate, their states and their failures. A moved message is a new one.
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
// Publishing delivers before it returns. A subscription needs no queue policy unless [Options].EnforcePolicies asks for
// it. A queue's dead-letter queue can be
// deleted; the queue then goes on delivering. The deduplication scope of a queue is fixed when it is made, as has been
// seen on AWS, whatever the attribute says later. A message that moves to a FIFO dead-letter queue counts as sent then.
// A message move task moves what was available when it began, in the order within each group, leaves what is in flight
// where it is, and goes on at its rate from the first moment; without a rate it is over at once unless there are more
// than ten thousand messages. Deduplication does not swallow what it moves, and the deduplication ID stays that which
// the message had in the dead-letter queue. A task that is over cannot be cancelled.
// A long poll whose caller gives up takes no messages, except in the very moment in which they are handed over.
//
// # What is not supported
//
// A request for one of these is refused with an error that says so; nothing is accepted and then ignored:
//
//   - SNS: subscriptions of other protocols than sqs, ConfirmSubscription, archive and replay, data protection,
//     everything about mobile push and SMS.
//   - Filter policies: "wildcard", and "anything-but" with anything else than values or a prefix.
//
// Policies (also what AddPermission adds to them) concern deliveries alone, and only when they are enforced. KMS keys, tracing and delivery policies are stored and shown but have
// no effect. Signatures of notifications are not real. The answer to a Query request is always XML, also when the client
// would accept JSON.
//
// # What shows it
//
// The numbered statements about how SQS and SNS behave, 136 of them, are listed with the test of each in
// conformance_test.go, and a test sees to it that none is missing; a case's name begins with the numbers it shows, as
// in "G81 a duplicate is answered with the original and not stored". One does not apply: that clients must compare
// sequence numbers as strings or big integers (94).
//
// The same cases can be run against anything that answers like SNS and SQS, an AWS account included:
// FANOUT_CONFORMANCE_ENDPOINT is its URL, or "aws"; endpoint_test.go says more. The package clients runs clients that
// nobody here wrote: the AWS CLI, boto3, the SDK for JavaScript, sqs-consumer, watermill-aws.
//
// # Trouble on request
//
// [Engine.Faults] makes it misbehave by rules: fail an entry of a batch or a single message, throttle, answer 500, break
// the connection before or after acting, delay, end a visibility timeout at once, deliver again what was deleted. The
// rules can come from a file. [Engine.ExpireVisibility] takes messages away from whoever holds them.
// [Engine.Requests], [Engine.Entries] and [Engine.Billed] count what was asked of it and what AWS would bill for it,
// [Engine.Queues] tells what the queues hold, [Engine.LockedGroups] which message locks which group. A server shows all
// of it as JSON at /_fanout/status.
package local
