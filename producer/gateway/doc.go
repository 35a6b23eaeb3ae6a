// Package gateway is a device gateway: it takes events over HTTP and MQTT and hands them to a [producer.Producer].
// It is a program ready to run, `fanout gateway`, and a library for a gateway of your own:
//
//	keys, err := gateway.LoadKeys("keys.json")
//	…
//	g, err := gateway.New(p, keys, gateway.Config{})
//	…
//	go keys.Watch(ctx, 0, logger)          // a changed file takes effect without a restart
//	err = g.Serve(ctx, listener)           // until ctx ends, then it drains
//	err = g.Subscribe(ctx, gateway.MQTT{Broker: "tcp://127.0.0.1:1883", ClientID: "gateway-1"})
//
// # What an answer promises
//
// 202 is given only for an event that the topic has confirmed, or that lies in the producer's spool on disk. Whoever has read
// it may forget the event. Every other answer, but to a batch, is a problem document (RFC 9457) that names the bad fields, and says by its
// status whether sending the event again can help: 4xx other than 408 and 429 can't, 408, 429 and 5xx can. No answer at all
// means that the outcome is not known. So a careful client gives its events IDs of its own and sends again under the same
// ID: inside five minutes SNS drops the second, later the services know it by its identity. SNS does not compare the two: if an ID is used for another
// event within five minutes, that one is answered with 202, too, and is dropped unseen.
//
// A batch of CloudEvents is answered with a list: for each event, in its place, what it would have been answered alone. Where they differ the
// status is 207.
//
// # Order
//
// Over HTTP, requests that follow one another on a connection keep their order, because each is answered before the next is
// read. In a stream of lines (NDJSON) every device keeps the order of its lines. A device's next line is handed to the
// producer once the one before is accepted, and after a line that was not accepted for a reason that may pass, the later ones of
// its device are refused too, so that a client who sends again from there overtakes nothing. Answers carry the line's number and
// come as they are known; other devices do not wait. The same goes for a batch.
//
// Over MQTT every device keeps the order of its messages. A message is acknowledged once its event is accepted. One that was
// not accepted for a reason that may pass stays unacknowledged and is tried again, and the later ones of its device wait behind it;
// those of other devices are acknowledged meanwhile. What is not acknowledged when this process ends, the broker delivers again.
//
// # Keys and limits
//
// A client shows an API key, "Authorization: Bearer NAME.SECRET". The file of keys holds only SHA-256 hashes of the secrets.
// A secret is 32 random bytes, so that a slow hash would add nothing; hashes are compared in constant time. A key can be
// confined to devices and to a source, and has limits of its own: events per second in all, and per device. A single event over the
// limit is refused with 429 and Retry-After; a stream is read more slowly instead, and a message over MQTT is acknowledged later.
//
// Bodies and lines are bounded in size and in time, so that a client that sends slowly, or without end, holds up nothing but its
// own connection. What of a stream waits for its acceptance is bounded in lines and in bytes. A key that is taken away ends its streams.
// The streams of a key are bounded in number. Connections are bounded by the descriptors of the process: those without a complete request make
// way for others, and where all are in use there is 503, and /healthz and /readyz are answered. Wrong keys are logged, at a bounded rate,
// and after the first few of an address answered a second later.
//
// # Watching it
//
// /healthz says that the process lives, /readyz whether it should get new connections. [Gateway.Metrics] is for Prometheus:
//
//	fanout_gateway_events_total{transport,result}  events by what became of them; result is "accepted" or the problem's kind
//	fanout_gateway_accept_seconds{transport}       from an event's arrival to its acceptance or refusal
//	fanout_gateway_streams                         streams of lines that are open
//	fanout_gateway_mqtt_connected                  1 while connected to the broker
//	fanout_gateway_mqtt_unacknowledged             messages that wait for their acceptance
//	fanout_gateway_keys                            keys in use
//	fanout_gateway_keys_reload_failures_total      changes of the key file that could not be used
//	fanout_gateway_producer_buffered               events accepted by the producer and not yet confirmed
//	fanout_gateway_producer_confirmed_total        events that the topic has confirmed
//	fanout_gateway_producer_failed_total           events that the producer accepted and could not get confirmed
//
// No metric has a device as a label.
//
// # What it does not do
//
// It has no users, only keys, and encrypts only what [Gateway.Serve] is given a TLS listener for. Without keys ([Anyone]) it belongs on
// loopback, where it takes nothing from web pages; it does not refuse another listener. It does not register devices.
package gateway
