// Package faults makes the engine misbehave as SNS and SQS do on a bad day, by rules that a test adds.
//
// A [Rule] says which requests it concerns and what happens to them:
//
//	engine.Faults().Add(faults.Rule{Action: "PublishBatch", Group: "lamp-1", Kind: faults.FailEntry, Count: 2})
//
// fails the next two entries of group lamp-1, whatever batches they come in. Kinds are entry failures, throttling,
// internal errors, answers that get lost after the request was carried out, connections that break before, delays,
// visibility timeouts that end at once, deleted messages that come again, and checksums that are wrong.
//
// Rules apply in the order in which they were added; the first that matches decides. Only a delay leaves the decision
// to those behind it. [Set.Injected] counts what was injected.
//
// Rules can also stand in a file, which [Parse] reads:
//
//	[
//	  {"kind": "throttle", "action": "PublishBatch", "rate": 100, "after": "10s", "for": "1m"},
//	  {"kind": "delay", "delay": "20ms", "delay_p99": "400ms", "seed": 7}
//	]
package faults
