// Package door is what every listener of this project stands behind: how long a client may take, how many there may be, and who is
// let in without a key.
//
//	listener, err := door.Listen("127.0.0.1:8080", false) // loopback only
//	…
//	server := door.New(door.Config{Name: "push", Handler: handler, Guard: door.Loopback(listener), Logger: logger})
//	err = server.Serve(listener)                          // until Shutdown or Close; then nil
//
// # Time
//
// A connection has a deadline from its first moment: for the handshake and the header, for the body, for every write, and between two
// requests. A handler that streams sets other ones with an [http.ResponseController]. A handler that waits, as a long poll does,
// needs nothing: once a body has arrived nothing more is expected of the client.
//
// # Number
//
// All connections of a process share one room, which leaves descriptors for everything else: files, databases, calls to AWS. When it is
// full, the connection that has waited longest without a complete request (nothing or half a header sent, or idle between two requests) is
// closed for the new one. So thousands of silent connections keep nobody out, and what sends its request at once is always heard.
// Requests in a handler are never cut off for others. Where everything is in a handler, each server has a few places
// more, which answer what [Config.Always] names, such as /healthz, and everything else with 503 and Retry-After.
//
// # Who
//
// A server that asks for no key belongs on loopback, and [Listen] refuses it any other address unless it is told outright. A [Guard]
// keeps web pages from using such a server through the browser of whoever visits them.
//
// It has no users and no keys: those are the servers' own. [Attempts] slows down who guesses at them.
package door
