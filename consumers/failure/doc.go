// Package failure has the words that the declaration of a service, its runtime and the records of its dead letters share: what
// kind of failure ended an event ([Class]), what that means for the later events of its device ([GroupPolicy]), and the errors by
// which a handler tells what kind its own is. It imports nothing but the standard library, so that a topology can be declared,
// checked and rendered without the runtime.
package failure
