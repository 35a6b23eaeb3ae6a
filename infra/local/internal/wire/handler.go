package wire

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/clock"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
	"github.com/device-fanout/fanout/infra/local/internal/topic"
)

// MaxRequestBytes is the largest request body that is read. A message of 1 MiB can grow sixfold in JSON.
const MaxRequestBytes = 8 << 20

const (
	contentTypeJSON = "application/x-amz-json-1.0"
	contentTypeXML  = "text/xml"
	jsonTarget      = "AmazonSQS."
)

// service is one of the two services.
type service string

const (
	sqs service = "sqs"
	sns service = "sns"
)

// Handler answers the requests of both services. It is safe for concurrent use.
type Handler struct {
	Queues *queue.Service
	Topics *topic.Service
	Faults *faults.Set
	Clock  clock.Clock // for delays that fault rules ask for

	counts counts
}

// Request is an HTTP request with its body read. The handler keeps no part of it.
type Request struct {
	Method, Path, Query, Host string
	Header                    http.Header
	Body                      []byte
}

// Response is an HTTP response.
type Response struct {
	Status      int
	ContentType string
	QueryError  string // header x-amzn-query-error, or ""
	RequestID   string
	Body        []byte
	// Dropped tells that there must be no answer, whether or not the request was carried out: the connection breaks.
	Dropped bool
	// Cancelled tells that the request's context ended while it waited. There is nothing to send then.
	Cancelled bool
}

// Do answers a request. It blocks only for a long poll, which ends when ctx does; the answer is then of no use.
func (h *Handler) Do(ctx context.Context, r *Request) *Response {
	requestID := queue.NewID().String()
	resp := h.route(ctx, r, requestID)
	resp.Cancelled = resp.Status >= http.StatusInternalServerError && ctx.Err() != nil
	resp.RequestID = requestID
	return resp
}

func (h *Handler) route(ctx context.Context, r *Request, requestID string) *Response {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return h.serveJSON(ctx, r, target)
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), contentTypeJSON) {
		return h.serveJSON(ctx, r, "")
	}
	if r.Method == http.MethodGet && strings.HasPrefix(r.Path, pagePrefix) {
		return h.servePage(r.Path)
	}
	return h.serveQuery(ctx, r, requestID)
}

// call is one request on its way through an action.
type call struct {
	service service
	action  string
	query   bool // the Query protocol, not JSON
	host    string
	trace   string // the X-Ray header of the request, which messages take along
	verdict faults.Verdict
	entries int // what the request counts for: messages of a batch, messages received, else 1
	bytes   int // size of the messages that the request carried in or out
}

func newCall(s service, action string, r *Request) *call {
	return &call{service: s, action: action, host: r.Host, trace: r.Header.Get("X-Amzn-Trace-Id")}
}

// failed returns what entry i of the batch must fail with, if anything.
func (c *call) failed(i int) (faults.Failure, bool) {
	f, ok := c.verdict.Failed[i]
	return f, ok
}

const injectedMessage = "injected by a fault rule of the local engine"

// described is a request that fault rules can tell by more than its action.
type described interface {
	describe() (resource string, entries []faults.Entry, batch bool)
}

// judge asks the fault rules. A non-nil error is the answer.
func (h *Handler) judge(c *call, in any) error {
	if !h.Faults.Active() {
		return nil
	}
	r := faults.Request{Service: string(c.service), Action: c.action}
	if d, ok := in.(described); ok {
		r.Resource, r.Entries, r.Batch = d.describe()
	}
	c.verdict = h.Faults.Judge(r)
	switch {
	case c.verdict.Kind == faults.Error500, c.verdict.Kind == faults.CloseConnection:
		return apierr.New(codeInternal, injectedMessage)
	case c.verdict.Kind == faults.Throttle && c.service == sns:
		return apierr.New(cmp.Or(c.verdict.Code, "Throttled"), injectedMessage)
	case c.verdict.Kind == faults.Throttle:
		return apierr.New(cmp.Or(c.verdict.Code, "RequestThrottled"), injectedMessage)
	case len(c.verdict.Failed) > 0 && !r.Batch:
		return apierr.New(refusalCode(c.service, c.verdict.Failed[0]), injectedMessage)
	}
	return nil
}

// refusalCode is the code with which a request about a single message fails. Its HTTP status follows from it, so the
// fault of a sender cannot be an internal error.
func refusalCode(s service, f faults.Failure) string {
	switch {
	case !f.SenderFault || f.Code != codeInternal:
		return f.Code
	case s == sns:
		return topic.CodeInvalidParameter
	default:
		return queue.CodeInvalidParameter
	}
}

// delay waits as long as the fault rules want it.
func (h *Handler) delay(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	over := make(chan struct{})
	timer := h.Clock.AfterFunc(d, func() { close(over) })
	defer timer.Stop()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// ReadBody reads a request body into a buffer that release gives back. It fails when the body is too long or breaks off.
func ReadBody(body io.Reader, length int64) (read []byte, release func(), err error) {
	if body == nil {
		return nil, func() {}, nil
	}
	buf := buffers.Get().(*[]byte)
	release = func() { buffers.Put(buf) }
	b := (*buf)[:0]
	if length > MaxRequestBytes {
		return nil, release, errTooLarge
	}
	if int(length) >= cap(b) {
		b = make([]byte, 0, length+1) // room for the read that finds the end
	}
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		*buf = b
		switch {
		case len(b) > MaxRequestBytes:
			return nil, release, errTooLarge
		case errors.Is(err, io.EOF):
			return b, release, nil
		case err != nil:
			return nil, release, apierr.New(codeMalformed, "The request body breaks off: %v.", err)
		}
	}
}

var errTooLarge = apierr.New(codeTooLarge, "The request body is longer than %d bytes.", MaxRequestBytes)

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, release, err := ReadBody(r.Body, r.ContentLength)
	defer release()
	request := &Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host, Header: r.Header, Body: body,
	}
	var resp *Response
	if err != nil {
		resp = h.Refuse(request, err)
	} else {
		resp = h.Do(r.Context(), request)
	}
	if resp.Dropped || resp.Cancelled {
		panic(http.ErrAbortHandler) // the server closes the connection without an answer
	}
	header := w.Header()
	maps.Copy(header, resp.Header())
	w.WriteHeader(resp.Status)
	_, _ = w.Write(resp.Body) // a client that has gone away is no concern of ours
}

// Refuse answers a request whose body could not be read.
func (h *Handler) Refuse(r *Request, err error) *Response {
	requestID := queue.NewID().String()
	var resp *Response
	if r.Header.Get("X-Amz-Target") != "" {
		resp = jsonError(asAPIError(err))
	} else {
		resp = xmlError(serviceOf(r, nil), asAPIError(err), requestID)
	}
	resp.RequestID = requestID
	return resp
}

// Header is the response's header.
func (r *Response) Header() http.Header {
	header := http.Header{
		"Content-Type":     {r.ContentType},
		"X-Amzn-Requestid": {r.RequestID},
	}
	if r.QueryError != "" {
		header["X-Amzn-Query-Error"] = []string{r.QueryError}
	}
	return header
}
