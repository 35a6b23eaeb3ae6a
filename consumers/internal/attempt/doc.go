// Package attempt makes one attempt at an event: it decodes a message, calls the service's handler, with quick retries, tells what an
// error of it means and makes the dead letter of what failed for good. The runtime of package consumers and the Lambda adapter both work by
// it, so that the same error means the same in both. They differ in timing only: how long an attempt may take, when a message that
// failed comes again, and how its queue is told.
//
// [Service.Run] is the attempt, [FailureOf] tells what an error means, [Message.DeadLetter] makes the dead letter. Nothing here talks to a
// queue or keeps state between attempts.
package attempt
