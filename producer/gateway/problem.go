package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
)

// Problem is why an event was not accepted: a problem document of RFC 9457. A line of a stream is answered with one too.
type Problem struct {
	Type    string      `json:"type"`               // a URI that ends with the kind
	Title   string      `json:"title"`              // what problems of this kind have in common
	Status  int         `json:"status"`             // HTTP status
	Detail  string      `json:"detail,omitempty"`   // what is wrong here
	EventID string      `json:"event_id,omitempty"` // the ID to send the event again with, where that can help
	Errors  []BadMember `json:"errors,omitempty"`   // every bad field
	Line    int         `json:"line,omitempty"`     // of a stream, from 1

	kind       kind
	retryAfter time.Duration
}

// BadMember is one bad field of an event.
type BadMember struct {
	// Pointer is where it stands in the body: a JSON Pointer (RFC 6901), such as "/data/percent", or "/3/data/percent" in a batch.
	Pointer string `json:"pointer"`
	// Detail says what was found there and what was wanted.
	Detail string `json:"detail"`
}

// ProblemBase is what the type of every problem begins with.
const ProblemBase = "https://device-fanout.github.io/fanout/problems/"

// kind is the last part of a problem's type, and its label in metrics.
type kind string

// The kinds of problems.
const (
	kindMalformed       kind = "malformed-json"
	kindInvalid         kind = "invalid-event"
	kindUnknownType     kind = "unknown-type"
	kindTooLarge        kind = "too-large"
	kindTooSlow         kind = "too-slow"
	kindMediaType       kind = "unsupported-media-type"
	kindUnauthorized    kind = "unauthorized"
	kindForbidden       kind = "forbidden-device"
	kindForbiddenSource kind = "forbidden-source"
	kindForeignTopic    kind = "foreign-topic"
	kindForeignPage     kind = "foreign-page"
	kindForeignHost     kind = "foreign-host"
	kindNotFound        kind = "not-found"
	kindMethod          kind = "method-not-allowed"
	kindLimited         kind = "too-many-events"
	kindStreams         kind = "too-many-streams"
	kindConnections     kind = "too-many-connections"
	kindBusy            kind = "busy"
	kindUnconfirmed     kind = "unconfirmed"
	kindNotWritten      kind = "not-written"
	kindRefused         kind = "refused-by-topic"
	kindBlocked         kind = "blocked"
	kindClosing         kind = "closing"
)

// kinds has what problems of a kind have in common.
var kinds = map[kind]struct {
	status int
	title  string
}{
	kindMalformed:       {http.StatusBadRequest, "The body is not one JSON object"},
	kindInvalid:         {http.StatusUnprocessableEntity, "The event breaks its contract"},
	kindUnknownType:     {http.StatusUnprocessableEntity, "No such event type is registered"},
	kindTooLarge:        {http.StatusRequestEntityTooLarge, "The event is too large"},
	kindTooSlow:         {http.StatusRequestTimeout, "The body did not arrive in time"},
	kindMediaType:       {http.StatusUnsupportedMediaType, "The body is of no known media type"},
	kindUnauthorized:    {http.StatusUnauthorized, "No valid API key"},
	kindForbidden:       {http.StatusForbidden, "The API key may not speak for this device"},
	kindForbiddenSource: {http.StatusForbidden, "The API key may not speak for this source"},
	kindForeignTopic:    {http.StatusForbidden, "The message came by a subscription that this gateway did not make"},
	kindForeignPage:     {http.StatusForbidden, "The request comes from a web page"},
	kindForeignHost:     {http.StatusMisdirectedRequest, "The gateway does not go by this name"},
	kindNotFound:        {http.StatusNotFound, "There is nothing here"},
	kindMethod:          {http.StatusMethodNotAllowed, "The method is not allowed"},
	kindLimited:         {http.StatusTooManyRequests, "Too many events"},
	kindStreams:         {http.StatusTooManyRequests, "Too many streams are open"},
	kindConnections:     {http.StatusServiceUnavailable, "Too many connections"},
	kindBusy:            {http.StatusServiceUnavailable, "The buffer is full"},
	kindUnconfirmed:     {http.StatusServiceUnavailable, "The event was not confirmed"},
	kindNotWritten:      {http.StatusServiceUnavailable, "The event could not be written to disk"},
	kindRefused:         {http.StatusBadGateway, "The topic refused the event"},
	kindBlocked:         {http.StatusServiceUnavailable, "An earlier event of the device was not accepted"},
	kindClosing:         {http.StatusServiceUnavailable, "The gateway is closing"},
}

func newProblem(k kind, detail string) *Problem {
	p := &Problem{Type: ProblemBase + string(k), Title: kinds[k].title, Status: kinds[k].status, Detail: detail, kind: k}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusBadGateway {
		p.retryAfter = time.Second
	}
	return p
}

// Error implements error.
func (p *Problem) Error() string {
	text := p.Title
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	for _, bad := range p.Errors {
		text += "; " + bad.Pointer + ": " + bad.Detail
	}
	return text
}

// mayPass tells whether sending the event again can help.
func (p *Problem) mayPass() bool {
	return p.Status >= http.StatusInternalServerError && p.kind != kindRefused || p.Status == http.StatusTooManyRequests || p.kind == kindTooSlow
}

// write answers a request with the problem.
func (p *Problem) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(seconds(p.retryAfter)))
	}
	if p.kind == kindUnauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="fanout"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

// errNoRoom says that an event has waited for room in the producer's buffer in vain.
var errNoRoom = errors.New("gateway: no room in the buffer")

// problemOf says what an error of events or of the producer means to a client.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if invalid, ok := errors.AsType[*events.Error](err); ok {
		return problemOfEvent(invalid)
	}
	if large, ok := errors.AsType[*producer.TooLargeError](err); ok {
		return newProblem(kindTooLarge, fmt.Sprintf("the message has %d bytes, the topic takes at most %d", large.Bytes, large.MaxBytes))
	}
	if blocked, ok := errors.AsType[*producer.BlockedError](err); ok {
		p := newProblem(kindBlocked, "event "+blocked.BlockedBy+" before it was not confirmed")
		p.EventID = blocked.EventID
		return p
	}
	if failed, ok := errors.AsType[*producer.PublishError](err); ok {
		return problemOfPublish(failed)
	}
	if unwritten, ok := errors.AsType[*producer.SpoolError](err); ok {
		p := newProblem(kindNotWritten, "")
		p.EventID = unwritten.EventID
		return p
	}
	switch {
	case errors.Is(err, errNoRoom), errors.Is(err, producer.ErrBufferFull):
		return newProblem(kindBusy, "the producer's buffer, or the device's share of it, has no room")
	case errors.Is(err, producer.ErrClosed):
		return newProblem(kindClosing, "")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return newProblem(kindUnconfirmed, "it was not accepted in time")
	}
	return newProblem(kindUnconfirmed, err.Error())
}

func problemOfEvent(invalid *events.Error) *Problem {
	k := kindInvalid
	switch invalid.Code {
	case events.CodeMalformedJSON:
		k = kindMalformed
	case events.CodeUnknownType:
		k = kindUnknownType
	case events.CodeInvalidEnvelope, events.CodeInvalidData:
	}
	p := newProblem(k, "")
	if invalid.Err != nil {
		p.Detail = invalid.Err.Error()
	}
	for _, field := range invalid.Fields {
		detail := "missing, want " + field.Want
		if field.Value != "" {
			detail = "got " + field.Value + ", want " + field.Want
		}
		p.Errors = append(p.Errors, BadMember{Pointer: field.Pointer(), Detail: detail})
	}
	return p
}

func problemOfPublish(failed *producer.PublishError) *Problem {
	var p *Problem
	switch {
	case errors.Is(failed, producer.ErrUnknownOutcome):
		p = newProblem(kindUnconfirmed, "its outcome is unknown: send it again with the same id")
	case errors.Is(failed, producer.ErrClosed):
		p = newProblem(kindClosing, "")
	case failed.Refused:
		p = newProblem(kindRefused, failed.Code)
	default:
		p = newProblem(kindUnconfirmed, failed.Code)
	}
	p.EventID = failed.EventID
	return p
}
