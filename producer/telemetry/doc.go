// Package telemetry shows a producer to OpenTelemetry: spans and metrics after the semantic conventions for messaging.
//
//	watch, err := telemetry.New(telemetry.Config{})
//	…
//	p, err := producer.New(client, topicARN, producer.Config{Hooks: watch.Hooks()})
//	…
//	stop, err := watch.Observe(p)
//	defer stop()
//
// A program that does not import it does not link OpenTelemetry, and pays nothing.
//
// # Spans
//
// "create TOPIC" stands for one event, from the moment it is given to the producer until its caller is answered. It is a child of the
// span in the caller's context. Its context travels in the message attributes traceparent and tracestate, also through the spool
// and a restart, so that the consumer's span can link to it. "send TOPIC" stands for one request, with a link to every event in it.
//
// # Metrics
//
//	messaging.client.sent.messages       counter, by error.type     entries of requests
//	messaging.client.operation.duration  histogram, s               requests, by error.type
//	fanout.producer.accepted             counter                    events accepted
//	fanout.producer.confirmed            counter                    events that the topic has confirmed
//	fanout.producer.failed               counter, by error.type     events that failed for good
//	fanout.producer.retried              counter                    entries sent again
//	fanout.producer.set_aside            counter                    what the spool has set aside
//	fanout.producer.latency              histogram, s               from acceptance to confirmation
//	fanout.producer.batch.fill           histogram                  entries in a request
//	fanout.producer.buffered             gauge                      events accepted and not resolved
//	fanout.producer.spooled              gauge                      of them in the spool
//	fanout.producer.oldest               gauge, s                   age of the oldest of them
//
// All have the attributes messaging.system and messaging.destination.name. error.type is the code of SNS, or unknown_outcome,
// blocked, closed or other. None has a device ID: there can be millions. Spans have it, as cloudevents.event_subject.
package telemetry
