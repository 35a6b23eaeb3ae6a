package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// action is one API action: how to decode it from either protocol, and what it does.
type action struct {
	newInput func() any
	// run returns the result to encode, which is nil for an action without output.
	run func(h *Handler, ctx context.Context, c *call, in any) (any, error)
}

// does makes an action of a method.
func does[In, Out any](method func(*Handler, context.Context, *call, *In) (*Out, error)) action {
	return action{
		newInput: func() any { return new(In) },
		run: func(h *Handler, ctx context.Context, c *call, in any) (any, error) {
			out, err := method(h, ctx, c, in.(*In))
			if err != nil || out == nil {
				return nil, err // not a typed nil
			}
			return out, nil
		},
	}
}

// onQueue makes an action of a method for the queue that the request names.
func onQueue[In, Out any, P interface {
	*In
	url() string
}](method func(*Handler, context.Context, *call, *queue.Queue, *In) (*Out, error)) action {
	return does(func(h *Handler, ctx context.Context, c *call, in *In) (*Out, error) {
		q, err := h.queueAt(P(in).url())
		if err != nil {
			return nil, err
		}
		return method(h, ctx, c, q, in)
	})
}

// sqsActions are the actions of SQS that the engine carries out.
var sqsActions = map[string]action{
	"AddPermission":                onQueue((*Handler).addPermission),
	"CancelMessageMoveTask":        does((*Handler).cancelMessageMoveTask),
	"ChangeMessageVisibility":      onQueue((*Handler).changeMessageVisibility),
	"ChangeMessageVisibilityBatch": onQueue((*Handler).changeMessageVisibilityBatch),
	"CreateQueue":                  does((*Handler).createQueue),
	"DeleteMessage":                onQueue((*Handler).deleteMessage),
	"DeleteMessageBatch":           onQueue((*Handler).deleteMessageBatch),
	"DeleteQueue":                  onQueue((*Handler).deleteQueue),
	"GetQueueAttributes":           onQueue((*Handler).getQueueAttributes),
	"GetQueueUrl":                  does((*Handler).getQueueURL),
	"ListDeadLetterSourceQueues":   onQueue((*Handler).listDeadLetterSourceQueues),
	"ListMessageMoveTasks":         does((*Handler).listMessageMoveTasks),
	"ListQueueTags":                onQueue((*Handler).listQueueTags),
	"ListQueues":                   does((*Handler).listQueues),
	"PurgeQueue":                   onQueue((*Handler).purgeQueue),
	"ReceiveMessage":               onQueue((*Handler).receiveMessage),
	"RemovePermission":             onQueue((*Handler).removePermission),
	"SendMessage":                  onQueue((*Handler).sendMessage),
	"SendMessageBatch":             onQueue((*Handler).sendMessageBatch),
	"SetQueueAttributes":           onQueue((*Handler).setQueueAttributes),
	"StartMessageMoveTask":         does((*Handler).startMessageMoveTask),
	"TagQueue":                     onQueue((*Handler).tagQueue),
	"UntagQueue":                   onQueue((*Handler).untagQueue),
}

// find returns the action of that name.
func find(s service, name string) (action, error) {
	actions := sqsActions
	if s == sns {
		actions = snsActions
	}
	if a, ok := actions[name]; ok {
		return a, nil
	}
	if s == sns && snsUnsupported[name] {
		return action{}, apierr.New(codeInvalidAction, messageNotImplemented, name)
	}
	return action{}, apierr.New(codeInvalidAction, messageUnknownTarget, name)
}

// perform carries out an action between the fault rules and the counters.
func (h *Handler) perform(ctx context.Context, c *call, a action, in any) (out any, dropped bool, err error) {
	c.entries = 1
	err = h.judge(c, in)
	if waited := h.delay(ctx, c.verdict.Delay); waited != nil {
		err = waited
	}
	if err != nil {
		h.counts.add(c)
		return nil, c.verdict.Kind == faults.CloseConnection, err
	}
	out, err = a.run(h, ctx, c, in)
	h.counts.add(c)
	return out, c.verdict.Kind == faults.DropReply, err
}

// serveJSON answers a request in SQS's JSON protocol.
func (h *Handler) serveJSON(ctx context.Context, r *Request, target string) *Response {
	name, ok := strings.CutPrefix(target, jsonTarget)
	if !ok {
		return jsonError(apierr.New(codeInvalidAction, messageUnknownTarget, target))
	}
	a, err := find(sqs, name)
	if err != nil {
		return jsonError(asAPIError(err))
	}
	in := a.newInput()
	if err := decodeJSON(r.Body, in); err != nil {
		return jsonError(asAPIError(err))
	}
	c := newCall(sqs, name, r)
	out, dropped, err := h.perform(ctx, c, a, in)
	if err != nil {
		resp := jsonError(asAPIError(err))
		resp.Dropped = dropped
		return resp
	}
	resp := &Response{Status: http.StatusOK, ContentType: contentTypeJSON, Dropped: dropped}
	switch out := out.(type) {
	case nil:
	case *received:
		resp.Body = out.appendJSON(nil)
	default:
		if resp.Body, err = json.Marshal(out); err != nil {
			return jsonError(asAPIError(err))
		}
	}
	return resp
}

func decodeJSON(body []byte, in any) error {
	if len(body) == 0 {
		return nil // as AWS's own clients send for actions without parameters
	}
	if !utf8.Valid(body) { // the decoder would replace what is not, and a message arrive that nobody sent
		return errMalformed("The request body is not UTF-8.")
	}
	if string(bytes.TrimSpace(body)) == "null" { // which the decoder takes
		return errMalformed("The request body is not a JSON object.")
	}
	if err := json.Unmarshal(body, in); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return errMalformed(fmt.Sprintf("%s cannot be converted to %s", wrong.Value, wrong.Type))
		}
		return errMalformed("The request body is not a JSON object.")
	}
	if hasLoneSurrogate(body) { // which the decoder has replaced
		return apierr.New(queue.CodeInvalidContents, queue.IllegalCharacters)
	}
	return nil
}

// hasLoneSurrogate reports whether a JSON text escapes half of a surrogate pair.
func hasLoneSurrogate(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 == len(text) {
			return false
		}
		text = text[i:]
		first := escapedUnit(text)
		if !utf16.IsSurrogate(first) {
			text = text[2:] // with the character that the backslash escapes, which may be a backslash
			continue
		}
		const width = len(`\ud800`)
		if utf16.DecodeRune(first, escapedUnit(text[width:])) == utf8.RuneError {
			return true
		}
		text = text[2*width:]
	}
}

// escapedUnit is the UTF-16 code unit that a text begins with as an escape, or 0.
func escapedUnit(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, _ := strconv.ParseUint(string(text[2:6]), 16, 16) // 0 when it is none
	return rune(unit)
}
