// Package core decides everything that a consumer does. It is a state machine: it is told what has happened ([Input]) and at what time, and
// answers what is to be done ([Work]). It has no goroutines, no clock, no log and makes no request, so that it can be read, drawn and simulated; package
// consumers is the shell around it, which does the work and reports back.
//
//	c := core.New(core.Config{…})
//	for {
//		work := c.Turn(time.Now()) // receive so many, run these, delete those, …
//		…                          // begin all of it, on goroutines that report by Inputs
//		c.Advance()
//		c.Step(time.Now(), input)  // for what has been reported, or once c.Wake() has come
//	}
//
// A received [Message] stands in the [Lane] of its device until it is deleted, handed back or lost. Both have one state each ([State],
// [LaneState]), and may change it only as the tables in table.go say; the pictures in the documentation are made from these. Before the first
// message of a lane is run, every [policy] is asked whether it may: park.go (is its device parked?), breaker.go (is a dependency down?), isolate.go (did
// it kill the processes that had it before?). What a failure comes to is in verdict.go, and on what evidence in evidence.go.
//
// Nothing here is safe for concurrent use. All times that are compared come from the caller.
package core
