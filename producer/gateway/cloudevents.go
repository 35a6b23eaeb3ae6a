package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/device-fanout/fanout/events"
)

// The HTTP protocol binding of CloudEvents: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md.

const attributePrefix = "Ce-"

// isBinary tells whether attributes of an event are headers.
func isBinary(header http.Header) bool {
	for _, name := range []string{"Specversion", "Id", "Type", "Source"} {
		if header[attributePrefix+name] != nil {
			return true
		}
	}
	return false
}

// fromBinary makes one JSON object of an event whose attributes are headers and whose data is the body, so that it is read as every other one.
func fromBinary(header http.Header, data []byte) ([]byte, *Problem) {
	out := []byte{'{'}
	member := func(name string, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(strconv.AppendQuote(out, name), ':')
		out = append(out, value...)
	}
	for _, key := range slices.Sorted(maps.Keys(header)) {
		name, ok := strings.CutPrefix(key, attributePrefix)
		if !ok {
			continue
		}
		name = strings.ToLower(name)
		for _, text := range header[key] { // of two the reader says that they are two
			text = attributeText(text)
			if !utf8.ValidString(text) {
				return nil, problemOf(&events.Error{
					Code: events.CodeInvalidEnvelope, Fields: []events.FieldError{{Path: name, Value: strconv.QuoteToASCII(text), Want: "UTF-8"}},
				})
			}
			value, _ := json.Marshal(text) // a string always encodes
			member(name, value)
		}
	}
	if header[attributePrefix+"Specversion"] == nil { // the reader would take it for the short form
		member("specversion", []byte("null"))
	}
	if media := header.Get("Content-Type"); media != "" {
		value, _ := json.Marshal(media)
		member("datacontenttype", value)
	}
	if data = bytes.TrimSpace(data); len(data) > 0 {
		var ignored json.RawMessage
		if err := json.Unmarshal(data, &ignored); err != nil {
			return nil, newProblem(kindMalformed, "the data of the event: "+err.Error())
		}
		member("data", data)
	}
	return append(out, '}'), nil
}

// attributeText is the text of an attribute out of a header's value, which may be quoted, and in which what is no printable ASCII is
// percent-encoded.
func attributeText(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		quoted := value[1 : len(value)-1]
		plain := make([]byte, 0, len(quoted))
		for i := 0; i < len(quoted); i++ {
			if quoted[i] == '\\' && i+1 < len(quoted) {
				i++
			}
			plain = append(plain, quoted[i])
		}
		value = string(plain)
	}
	if !strings.Contains(value, "%") {
		return value
	}
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			if c, err := strconv.ParseUint(value[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(c))
				i += 2
				continue
			}
		}
		out = append(out, value[i])
	}
	return string(out)
}

// batch takes a list of events, those of a device in its order, and answers each in the place where it stands: with its acceptance or a problem.
// The answer's status is what all of them have in common, or else 207. A batch has the limits of a stream, and takes no longer than a
// single event: what has no outcome by then is answered as unconfirmed. The problem is one of the list as a whole.
func (g *Gateway) batch(w http.ResponseWriter, r *http.Request, key Key) *Problem {
	body, p := g.readBody(w, r, windowBytes)
	if p != nil {
		return p
	}
	var texts []json.RawMessage
	if err := json.Unmarshal(body, &texts); err != nil || texts == nil {
		if err == nil {
			return newProblem(kindMalformed, "got null, want a list of events")
		}
		return newProblem(kindMalformed, "want a list of events: "+err.Error())
	}
	if len(texts) > g.cfg.Window {
		return newProblem(kindTooLarge, fmt.Sprintf("got %d events, want at most %d", len(texts), g.cfg.Window))
	}
	answers, retryAfter := g.takeAll(g.traced(r), texts, key)
	status := http.StatusAccepted
	for i, a := range answers {
		if s := statusOf(a); i == 0 {
			status = s
		} else if s != status {
			status = http.StatusMultiStatus
			break
		}
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(seconds(retryAfter)))
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answers) // the client may be gone
	return nil
}

func statusOf(answer any) int {
	if p, ok := answer.(*Problem); ok {
		return p.Status
	}
	return http.StatusAccepted
}

// takeAll takes the events of a batch. It returns their answers, and when those may be sent again that may pass then.
func (g *Gateway) takeAll(ctx context.Context, texts []json.RawMessage, key Key) (answers []any, retryAfter time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Patience)
	type outcome struct {
		at   int
		body any
	}
	outcomes := make(chan outcome, len(texts))
	in := &intake{gateway: g, key: key, transport: overBatch, lanes: newLanes(ctx, g.send)}
	ids := make([]string, len(texts))
	for i, text := range texts {
		ids[i] = in.take(ctx, text, len(text) > g.cfg.MaxEventBytes, func(id string, p *Problem) {
			if p == nil {
				outcomes <- outcome{i, acceptance{Status: http.StatusAccepted, EventID: id}}
				return
			}
			outcomes <- outcome{i, p}
		})
	}
	answers = make([]any, len(texts))
	waiting := len(texts)
	for over := false; waiting > 0 && !over; {
		select {
		case o := <-outcomes:
			answers[o.at] = o.body
			waiting--
		case <-ctx.Done():
			over = len(outcomes) == 0
		}
	}
	cancel()
	in.lanes.close()
	for i, a := range answers {
		if a == nil {
			p := newProblem(kindUnconfirmed, "its outcome is unknown: send it again with the same id")
			p.EventID = ids[i]
			answers[i] = p
		}
		if p, ok := answers[i].(*Problem); ok {
			retryAfter = max(retryAfter, p.retryAfter)
			p.Errors = slices.Clone(p.Errors)
			for at := range p.Errors {
				p.Errors[at].Pointer = fmt.Sprintf("/%d%s", i, p.Errors[at].Pointer)
			}
		}
	}
	return answers, retryAfter
}
