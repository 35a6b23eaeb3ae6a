// Package consumers is the runtime of a service that handles device events: it receives them from the service's SQS FIFO queue,
// calls a handler for each, one at a time and in order per device, and deletes, retries or dead-letters it by what the handler returns.
//
//	var mux consumers.Mux
//	consumers.On(&mux, func(ctx context.Context, e events.Event, data device.PowerChanged) error {
//		return save(ctx, e.ID, e.DeviceID, data.On)
//	})
//	c, err := consumers.New(sqs.NewFromConfig(cfg), consumers.Queue{Service: "lights", URL: url, DLQURL: dlqURL}, mux.Dispatch, consumers.Config{})
//	…
//	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
//	defer stop()
//	err = c.Run(ctx) // until ctx ends, then it drains
//
// # Verdicts
//
// What the handler returns decides. Followers are the later events of the same device. The receive count is that of SQS, which
// moves a message to the dead-letter queue by itself when the queue's maxReceiveCount is exceeded; it counts deliveries, not
// attempts, so that quick retries leave it alone.
//
//	verdict                   the message                            followers                     receive count
//	nil                       deleted                                the next one runs at once     –
//	a Known error, or one     to the DLQ at once, then deleted       the next one runs after that  –
//	that matches Config.Known
//	any other error, a panic  tried again in process, at once, for     wait meanwhile; the next one  unchanged by retries
//	                          Retries and HandlerTimeout; then to the   runs after that
//	                          DLQ if there is evidence that the
//	                          handler works, else held; see below
//	what can't be decoded     as a Known error; no handler is called
//	RetryAfter(d, err)        handed back, hidden for d; when it has handed back first, last one   one more for each
//	                          been received maxReceiveCount times,   first; they come after it
//	                          to the DLQ as exhausted
//	Unavailable(err)          kept, tried again every 1 s to 30 s      kept                          –
//	                          until one succeeds; nothing else is
//	                          started meanwhile
//	lease lost                nothing: it is delivered again         handed back, to come after it one more
//	                          (the handler's context ends)
//	stopping, DrainTimeout    handed back; counts as not attempted   handed back, last first       one more when it
//	is over                                                                                        comes again
//
// [Config.GroupPolicy] changes the rows that lead to the DLQ:
//
//	skip                      as above
//	park                      to the DLQ, and its device is parked   to the DLQ too, untried,      –
//	                                                                 until it is released
//	block                     kept, tried again every 1 s to 1 min   handed back once; they wait   one more for followers
//	                          until it succeeds                      behind it in the queue
//
// A dead letter is the message as it was, with one attribute more; see package deadletter, which also brings it back.
//
// # Guarantees
//
//   - A message is deleted only after its handler succeeded or the DLQ has confirmed its copy. Both are tried for as long as it
//     takes, while its visibility timeout is extended. A DLQ that can't be reached holds up the devices that need it, not the others.
//   - An event is handled at least once: again after a crash, or when a lease was lost. Handlers must bear that; package inbox
//     makes it easy.
//   - Within a device, no event is handled before the one before it was handled or dead-lettered. Within one Consumer a device has
//     one handler at a time; in two, only for as long as one of them has not noticed that its lease is lost.
//   - No event is dead-lettered by the runtime that was not tried, unless it can't be decoded or follows the one for which its
//     device was parked. When draining, an event that SQS would move at its next receive is run rather than handed back, unless
//     one before it is handed back.
//   - An event that kills its process ends in the dead-letter queue by its receive count, alone: from its third delivery on, an event
//     without a verdict is run isolated from others of that kind, and those and its followers are hidden for longer than itself
//     before, so that it comes again without them; a maxReceiveCount of three or less leaves no time for that. For a process that has
//     not tried it, an event that others have handed back twice, by RetryAfter or in deploys, is one too: after an outage many may
//     be run one at a time until they have a verdict. With [Park] it parks its device: that is recorded before its last delivery is
//     handled, and taken back when the handler succeeds.
//
// # Leases
//
// SQS hides a received message from others for the queue's visibility timeout, which is the lease. One heartbeat extends it for
// everything that is held, waiting followers included, from a third of its time on. When it can't be extended in time, the
// handler's context ends with [ErrLeaseLost], because another consumer may have the message by then. If the handler succeeds
// all the same, the message is not handled again when it comes back to this Consumer.
//
// A handler that goes on after its context has ended keeps its slot, its device and its lease; the log says so.
//
// # Parked devices
//
// With [Park] as the group policy, an event that goes to the dead-letter queue parks its device: the later events follow it there, in
// order and untried, until the device is released. Which devices are parked is recorded in [Config.Parking], which all processes of
// the service share, so that it survives restarts. Package parking tells how, lists them and releases them.
//
// # Evidence
//
// Is it the event, or what its handler depends on? An event that fails with an unknown error is dead-lettered only on evidence that its
// handler works: since it first failed, another event of its type was handled by this process, or [Config.Check] has passed; and it has
// failed once more after that. Where only the Check speaks against the event, it has to pass once more as well. So an outage of a
// dependency costs no dead letter in a service that has a Check, however long it takes and however often the process restarts; and a bad
// event holds its device up for about a second.
//
// Without evidence the event is held and tried again after pauses of 1 s to 30 s: its lease is kept, and its device waits. While a Check
// fails that goes on for as long as it takes. A service without a Check dead-letters the event after [Config.MaxHold] all the same, five
// minutes by default.
//
// While nothing shows that events can be handled, and in a new process before its first success, messages are received one at a time,
// and only as many as finding out needs; by a new process whose Check fails, none. A device whose last event failed shares one half of the
// slots with others of its kind, so that they don't stop those that are well.
//
// A handler that returns [Unavailable] says that a dependency is down, and opens the circuit breaker: nothing is started but one event now
// and then, after the Check has passed if there is one, and it is never dead-lettered for that. As soon as one succeeds all go on.
// [Consumer.Pause] stops the intake by hand.
//
// # Draining
//
// When Run's context ends: no new receive begins, and the last one ends by itself, since one cut off could leave messages hidden;
// what was not started goes back, the last of a device first; handlers go on for up to [Config.DrainTimeout], then their
// contexts end with [ErrStopping]; what was finished is deleted. Run then returns, at the latest a few seconds after
// DrainTimeout. An event that is held goes back when the last receive has ended, which would only bring it again; one that SQS would move at
// its next receive is dead-lettered with its record instead.
//
// # Load
//
// A Consumer asks for no more than its slots can take, those that are free and those that soon will be: one receive at a time when
// idle, up to [Config.Pollers] while they come back full. Deletes share requests of ten. [NewClient] makes a client whose long polls
// and other requests have connections of their own.
//
// # What can be seen
//
// [Consumer.Stats] counts everything, [Consumer.Blocked] lists the devices whose events can't be handled at the moment: which event,
// why, what it waits for, since when and until when, how many behind it. [Consumer.Health] tells whether the process lives and whether events
// can be handled. [Config.Hooks] hear of every event; package telemetry makes OpenTelemetry spans and metrics of them, and package health
// answers /livez, /readyz, /startupz and /blocked.
//
// # What it does not do
//
// It does not make handling happen exactly once. It does not keep a redriven event from coming after newer ones; compare time and
// sequence where that matters, as package state does. Events that run beside one that
// kills the process are started again with it. A message that SQS itself moves to the dead-letter queue blocks no device: with [Block],
// set the queue's maxReceiveCount as high as it goes. It parks none if the process dies after its last receive and before it is started.
package consumers
