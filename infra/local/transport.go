package local

import (
	"bytes"
	"io"
	"net/http"
	"strconv"

	"github.com/device-fanout/fanout/infra/local/internal/wire"
)

// RoundTripper carries requests straight into the engine, without sockets and without goroutines: the engine's work is
// done by the caller. A long poll ends when the request's context does. Whatever host a request names, it gets here.
// It works inside testing/synctest.
func (e *Engine) RoundTripper() http.RoundTripper { return transport{&e.handler} }

// HTTPClient is a client whose transport is [Engine.RoundTripper].
func (e *Engine) HTTPClient() *http.Client { return &http.Client{Transport: e.RoundTripper()} }

// lostReplyError is what a client without sockets gets when a fault rule breaks the connection, before or after the
// request was carried out.
type lostReplyError struct{}

func (lostReplyError) Error() string {
	return "local: connection broken by a fault rule: connection reset by peer"
}

func (lostReplyError) Is(target error) bool { return target == io.ErrUnexpectedEOF }

type transport struct{ handler *wire.Handler }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var reader io.Reader
	if r.Body != nil {
		reader = r.Body
	}
	body, release, err := wire.ReadBody(reader, r.ContentLength)
	defer release()
	if r.Body != nil {
		_ = r.Body.Close() // it has been read; nothing can be lost
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	request := &wire.Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Host: host, Header: r.Header, Body: body,
	}
	var answer *wire.Response
	if err != nil {
		answer = t.handler.Refuse(request, err)
	} else {
		answer = t.handler.Do(ctx, request)
	}
	if answer.Dropped {
		return nil, lostReplyError{}
	}
	if answer.Cancelled {
		return nil, ctx.Err()
	}
	return &http.Response{
		Status:        strconv.Itoa(answer.Status) + " " + http.StatusText(answer.Status),
		StatusCode:    answer.Status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        answer.Header(),
		Body:          newBody(answer.Body),
		ContentLength: int64(len(answer.Body)),
		Request:       r,
	}, nil
}

// body is the body of an answer.
type body struct{ bytes.Reader }

func newBody(b []byte) io.ReadCloser {
	r := new(body)
	r.Reset(b)
	return r
}

// Close implements io.Closer.
func (*body) Close() error { return nil }
