// Package telemetry shows a consumer to OpenTelemetry: spans and metrics after the semantic conventions for messaging.
//
//	watch, err := telemetry.New(telemetry.Config{Queue: "prod-lights.fifo"})
//	…
//	c, err := consumers.New(api, queue, handle, consumers.Config{Hooks: watch.Hooks()})
//	…
//	stop, err := watch.Observe(c)
//	defer stop()
//
// A program that does not import it does not link OpenTelemetry, and pays nothing.
//
// # Spans
//
// "process QUEUE" stands for one event with all its attempts, from its first one to the verdict. It begins a trace of its own, with
// a link to the producer's span, which the message attributes traceparent and tracestate name. The handler's context carries it.
//
// # Metrics
//
//	messaging.process.duration           histogram, s               of all attempts at an event, by verdict, class and error.type
//	fanout.consumer.latency              histogram, s               from the event's time to its handling
//	fanout.consumer.verdicts             counter                    events, by verdict, class and error.type; one that is held counts at each attempt
//	fanout.consumer.dead_letters         counter                    events that failed and are dead letters, by class and error.type
//	fanout.consumer.received             counter                    messages, repeated deliveries included
//	fanout.consumer.redelivered          counter                    of them, those that had been delivered before
//	fanout.consumer.retries              counter                    handlers started again at once
//	fanout.consumer.dead_lettered        counter                    messages that the dead-letter queue has confirmed
//	fanout.consumer.parked               counter                    of them, those that followed a failed one
//	fanout.consumer.released             counter                    messages handed back
//	fanout.consumer.reused               counter                    messages with the identity of an earlier event that said something else
//	fanout.consumer.lease.extensions     counter                    requests that extended visibility timeouts
//	fanout.consumer.lease.losses         counter                    messages whose lease was lost
//	fanout.consumer.delete.requests      counter                    delete requests
//	fanout.consumer.delete.entries       counter                    messages in them
//	fanout.consumer.delete.failures      counter                    of them, those that were not deleted
//	fanout.consumer.receive.requests     counter                    receive requests
//	fanout.consumer.receive.failures     counter                    of them, those that failed: while it grows nothing may be received
//	fanout.consumer.breaks               counter                    how often the circuit breaker opened
//	fanout.consumer.held                 gauge                      messages held
//	fanout.consumer.lanes                gauge                      devices they are of
//	fanout.consumer.lane.depth           gauge                      messages of the device that has the most
//	fanout.consumer.blocked              gauge                      devices that can't go on, by reason
//	fanout.consumer.breaker.open         gauge                      1 while the circuit breaker is open
//
// All have the attributes messaging.system and messaging.destination.name. error.type is the failure's code, and
// fanout.class the class that its dead letter has. None has a device ID:
// there can be millions. Spans have it, as cloudevents.event_subject.
package telemetry
