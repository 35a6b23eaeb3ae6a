// Package push passes events on to WebSocket clients as they come: phones, browsers, wall panels.
//
// It is a service ready to run, and a template to copy:
//
//	service := push.New(push.Config{})
//	server := &http.Server{Addr: "127.0.0.1:8080", Handler: service.Handler()}
//	… // serve, and hand service.Handle and service.Check to the consumer of queue {env}-push.fifo
//	service.Close(ctx) // after the consumer has stopped; Shutdown of the server does not know WebSockets
//
// # What a client does
//
// It connects to /ws and gets every event, or to /ws?device=hall/lamp&type=device.power.changed.v1 and gets those of the
// devices and types named. Each event is one text message, the same CloudEvents 1.0 JSON that travels through the queues.
// The client may change its choice at any time:
//
//	{"devices": ["hall/lamp", "attic"], "types": ["device.power.changed.v1"]}
//
// An empty list means all, and types may be left out. There is no answer; the choice holds for the events that are handled
// after it came.
//
// A client that was away connects with after=ID, the ID of the last event that it has seen, and with after_device and after_source,
// its subject and source, where devices may use the same IDs; without them it is the earliest event of that ID. It gets what it chose of the
// events after that, and then goes on live. They come from the last events, which are remembered ([Config.Recent]), and
// for longer ago from [Config.Past], which may begin with some that the client knows. Those have what the past has kept: from history an
// event of a type that its program does not know comes without its dataschema, which is optional, and live with it.
//
// / is a page that shows live events. /healthz answers 200, or 503 once the service closes.
//
// # Guarantees
//
// A client gets the events of a device in the order in which they were handled. Handle never waits for a client: each
// has a buffer, and one whose buffer is full is dropped, rather than having events left out in silence. It may connect
// again and resume. A second delivery from the queue is passed on twice, with the same id. What was handled while the service
// was down, by the one that records the past, comes when it is handled here too, unless the client has it from there.
//
// All clients are of one process: of two that share a queue each would hear half of the events. With [Config.Feed] processes share what they
// hear. Then a second delivery is not passed on again, as long as the feed has the first, and while the feed is down events wait.
//
// # Close codes
//
//	1001  the service stops
//	1003  the client sent a binary message
//	1007  the client sent what is no choice; the reason says why
//	1008  the client was too slow
//	1009  the client sent a message that is too long
//	1013  with a feed: what was missed can't be told at the moment, see [StatusTryAgain]
//	4001  the client cannot go on after the event that it named, see [StatusCannotResume]
//
// Who cannot be let in gets an HTTP status instead: 400 for a query that cannot be understood, 401 without the
// token, 403 for a page of another host, 503 when there are too many clients or the service stops.
//
// # Security
//
// Browsers are let in from pages of the same host only, and of those in [Config.OriginPatterns]. With [Config.Token] every
// client must show the token: in the header "Authorization: Bearer TOKEN", or, where a page can set no header, as the
// subprotocol "fanout.token.TOKEN" beside [Subprotocol]. There are no users. Without a token everybody who reaches the port
// sees the events; listen on loopback then, or behind a proxy that knows its users.
package push
