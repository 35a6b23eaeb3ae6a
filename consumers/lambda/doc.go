// Package lambda runs the handler of a service as an AWS Lambda function behind its FIFO queue. What an error means, its code, the record
// of a dead letter and what hooks are told are those of package consumers; when an event comes again, and how its queue is told, are
// Lambda's.
//
//	function, err := lambda.New(sqs.NewFromConfig(cfg), consumers.Queue{Service: "lights", URL: url, DLQURL: dlqURL}, mux.Dispatch, lambda.Config{})
//	if err != nil {
//		return err
//	}
//	awslambda.Start(function.Handle) // of github.com/aws/aws-lambda-go/lambda
//
// The event source mapping reads the queue, with ReportBatchItemFailures switched on: without it, Lambda would delete
// what was reported as failed.
//
// # A batch
//
// Lambda calls the function with up to ten messages. They are split by device; devices run side by side, the events of each
// one after another. What is not reported as failed, Lambda deletes.
//
//	verdict                    the message                                  later ones of its device in the batch
//	nil                        deleted                                      the next one runs
//	a Known error, or one      to the DLQ, then deleted                     the next one runs after that
//	that matches Config.Known
//	any other error, a panic   tried again in process; on evidence to the   the next one runs after that
//	                           DLQ, then deleted; else reported, and
//	                           handed back for a pause                      reported and handed back with it
//	a RetryAfter error         reported, and handed back for its delay      reported and handed back with it
//	Unavailable(err)           reported, and handed back for a pause; the   reported and handed back with it
//	                           rest of the batch is not tried
//	what can't be decoded      as a Known error; no handler is called
//	no time left to start it   reported and handed back                     reported and handed back with it
//	the DLQ can't be reached   reported and handed back                     reported and handed back with it
//
// A pause is HandBack after the first delivery and twice as long after each further one, up to 100 s, so that all is handled within two
// minutes after an outage; from the fourth hour on up to 15 min. So a failed event is never overtaken by a later one of its device, and events of other devices are not held up. Handing
// back makes the messages visible at once, the last first, where they would otherwise stay hidden for the queue's
// visibility timeout, and with them the device.
//
// # Evidence
//
// An event that fails with an unknown error may be a bad one, or may have met an outage, which must cost no dead letter. It is dead-lettered
// on evidence that the handler works: another event of its type was handled in this process, or [Config.Check] passed, after it had failed
// first and before an attempt that failed again; where there is a check, that must also pass after this attempt, unless another event was
// handled meanwhile. When the check passes the event is tried again at once, so that a poison event holds its device for two seconds or so.
// While the check fails the event waits, for as long as the queue's maxReceiveCount and retention allow. A service without a check gives up
// on an event after [Config.MaxHold], and then on the next one of its device after as long again, as far as one process tries them.
//
// # Receive counts
//
// Every delivery counts for all messages of a batch, tried or not, and every pause ends in one. So the queue's maxReceiveCount must last for
// an outage: 155 for four hours. The topology declares it for services on Lambda, from 155 on; [Config.MaxReceiveCount] tells it to the
// function, which then sends what fails at its last delivery to the DLQ itself, with a record, and tries what stands behind it. Otherwise
// SQS would move it at its next receive, without a word.
//
// # What it does not do
//
// Handling happens at least once: when the function dies or its answer is lost, Lambda delivers the whole batch again.
// Package inbox makes that harmless; the lease of its Once must be below the queue's visibility timeout less the function's
// timeout, or an event that a dead function had claimed may reach its last delivery while it is still claimed.
//
// A handler that goes on after its context has ended uses up the function's time; Lambda then ends the function, which is
// harsh but keeps two from running for one device.
package lambda
