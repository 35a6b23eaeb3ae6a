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
//	any other error, a panic   tried again in process; then reported, and   reported and handed back with it
//	                           handed back for HandBack; at its third
//	                           delivery to the DLQ instead, then deleted    the next one runs after that
//	a RetryAfter error         as that, without tries in process; handed    reported and handed back with it
//	                           back for its delay
//	Unavailable(err)           reported, never to the DLQ; handed back     reported and handed back with it
//	                           for HandBack, then for twice as long each
//	                           time, up to 15 min
//	what can't be decoded      as a Known error; no handler is called
//	no time left to start it   reported and handed back                     reported and handed back with it
//	the DLQ can't be reached   reported and handed back                     reported and handed back with it
//
// So a failed event is never overtaken by a later one of its device, and events of other devices are not held up. Handing
// back makes the messages visible at once, the last first, where they would otherwise stay hidden for the queue's
// visibility timeout, and with them the device.
//
// # Receive counts
//
// Every delivery counts for all messages of a batch, tried or not. The function gives up on an event at its third
// delivery ([Config.Deliveries]); the queue's own maxReceiveCount must be well above that (the topology's is 10), because
// when it is reached SQS moves messages to the DLQ untried. With HandBack at five seconds, an event whose handler returns Unavailable
// reaches the tenth delivery after half an hour.
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
