package core

// policy is asked before the first message of a lane is run.
type policy interface {
	// before decides about m, which is the first message of l; l is Free. To the answer wait belongs that the policy calls proceed when
	// it is over, and to divert that it has turned the lane to another state.
	before(l *Lane, m *Message) decision
}

// decision is what a policy answers.
type decision uint8

const (
	run    decision = iota // as far as this policy goes
	wait                   // for an answer about other messages of the device
	divert                 // the policy does something else with it
)
