package wire

import (
	"context"
	"net/http"
	"strings"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
)

const (
	sqsVersion = "2012-11-05"
	snsVersion = "2010-03-31"
)

// serveQuery answers a request in the Query protocol of SQS or SNS.
func (h *Handler) serveQuery(ctx context.Context, r *Request, requestID string) *Response {
	f := make(form, 64)
	err := f.parse(r.Query)
	if err == nil && r.Method != http.MethodGet {
		err = f.parse(string(r.Body))
	}
	s := serviceOf(r, f)
	if err != nil {
		return xmlError(s, asAPIError(err), requestID)
	}
	name := f["Action"]
	if name == "" {
		if r.Method == http.MethodGet {
			return xmlError(sqs, apierr.New(codeUnknownOperation, "There is no page here."), requestID)
		}
		return xmlError(s, apierr.New(codeMissingParameter, "The request must contain the parameter Action."), requestID)
	}
	a, err := find(s, name)
	if err != nil {
		return xmlError(s, asAPIError(err), requestID)
	}
	if s == sqs && r.Path != "" && r.Path != "/" {
		if name == "CreateQueue" || name == "ListQueues" {
			return xmlError(s, apierr.New(codeInvalidAction, messageUnknownTarget, name), requestID)
		}
		if _, ok := f["QueueUrl"]; !ok {
			f["QueueUrl"] = r.Path
		}
	}
	in := a.newInput()
	if err := f.decode(in); err != nil {
		return xmlError(s, asAPIError(err), requestID)
	}
	c := newCall(s, name, r)
	c.query = true
	out, dropped, err := h.perform(ctx, c, a, in)
	if err != nil {
		resp := xmlError(s, asAPIError(err), requestID)
		resp.Dropped = dropped
		return resp
	}
	namespace := sqsNamespace
	if s == sns {
		namespace = snsNamespace
	}
	return &Response{
		Status:      http.StatusOK,
		ContentType: contentTypeXML,
		Body:        appendXML(nil, namespace, name, out, requestID),
		Dropped:     dropped,
	}
}

// serviceOf tells which service a Query request is for: by its version, by what it was signed for, by its action.
func serviceOf(r *Request, f form) service {
	switch f["Version"] {
	case sqsVersion:
		return sqs
	case snsVersion:
		return sns
	}
	switch authorization := r.Header.Get("Authorization"); {
	case strings.Contains(authorization, "/sqs/aws4_request"):
		return sqs
	case strings.Contains(authorization, "/sns/aws4_request"):
		return sns
	}
	_, ofSNS := snsActions[f["Action"]]
	_, ofSQS := sqsActions[f["Action"]]
	if _, ok := f["TopicArn"]; ofSNS && (ok || !ofSQS) { // AddPermission and RemovePermission are actions of both
		return sns
	}
	return sqs
}
