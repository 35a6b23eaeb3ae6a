// Package apierr is the one error type of the engine's services: a code of the SQS or SNS API and a text.
//
// The rooms that hold the semantics (queue, topic, filter) return it; the room that speaks the protocols (wire) adds
// what only a protocol knows: HTTP status, JSON type, XML shape.
package apierr

import "fmt"

// Error is a refusal as the service's API knows it.
type Error struct {
	// Code is the API's own code, in its Query protocol form, such as "InvalidParameterValue" or
	// "AWS.SimpleQueueService.NonExistentQueue".
	Code string
	// Message is the text that a client shows.
	Message string
}

// New makes an error of code with a formatted text.
func New(code, format string, args ...any) *Error {
	if len(args) == 0 {
		return &Error{Code: code, Message: format}
	}
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }
