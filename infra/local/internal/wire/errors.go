package wire

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// Codes of errors that belong to the protocols and not to queues or topics.
const (
	codeInternal          = "InternalError"
	codeInvalidAction     = "InvalidAction"
	codeMalformed         = "MalformedInput"
	codeMissingParameter  = "MissingParameter"
	codeTooLarge          = "RequestEntityTooLarge"
	codeUnknownOperation  = "UnknownOperationException"
	codeUnsupported       = "UnsupportedOperation"
	codeValidation        = "ValidationError"
	sqsCodePrefix         = "AWS.SimpleQueueService."
	namespaceSQS          = "com.amazonaws.sqs#"
	namespaceCoral        = "com.amazon.coral.service#"
	messageUnknownTarget  = "The action %s is not valid for this endpoint."
	messageNotImplemented = "%s is not supported by the local engine."
)

// shape is how a code looks in SQS's JSON protocol.
type shape struct {
	name   string // with namespace
	status int
}

// sqsShapes lists the codes whose JSON type or HTTP status does not follow from the code.
// All others are named as their code without "AWS.SimpleQueueService." and answered with 400.
var sqsShapes = map[string]shape{
	"AWS.SimpleQueueService.NonExistentQueue":     {namespaceSQS + "QueueDoesNotExist", http.StatusBadRequest},
	"QueueAlreadyExists":                          {namespaceSQS + "QueueNameExists", http.StatusBadRequest},
	"InvalidParameterValue":                       {namespaceCoral + "InvalidParameterValueException", http.StatusBadRequest},
	codeMissingParameter:                          {namespaceCoral + "MissingRequiredParameterException", http.StatusBadRequest},
	"ReceiptHandleIsInvalid":                      {namespaceSQS + "ReceiptHandleIsInvalid", http.StatusNotFound},
	"AWS.SimpleQueueService.PurgeQueueInProgress": {namespaceSQS + "PurgeQueueInProgress", http.StatusForbidden},
	"ResourceNotFoundException":                   {namespaceSQS + "ResourceNotFoundException", http.StatusNotFound},
	"OverLimit":                                   {namespaceSQS + "OverLimit", http.StatusForbidden},
	"RequestThrottled":                            {namespaceSQS + "RequestThrottled", http.StatusForbidden},
	"InvalidAddress":                              {namespaceSQS + "InvalidAddress", http.StatusNotFound},
	"InvalidSecurity":                             {namespaceSQS + "InvalidSecurity", http.StatusForbidden},
	"AccessDenied":                                {namespaceCoral + "AccessDeniedException", http.StatusForbidden},
	codeMalformed:                                 {namespaceCoral + "SerializationException", http.StatusBadRequest},
	codeInvalidAction:                             {namespaceCoral + "UnknownOperationException", http.StatusBadRequest},
	codeTooLarge:                                  {namespaceCoral + "RequestEntityTooLargeException", http.StatusRequestEntityTooLarge},
	codeInternal:                                  {namespaceCoral + "InternalFailure", http.StatusInternalServerError},
}

func sqsShape(code string) shape {
	if s, ok := sqsShapes[code]; ok {
		return s
	}
	return shape{namespaceSQS + strings.TrimPrefix(code, sqsCodePrefix), http.StatusBadRequest}
}

// snsStatus lists the SNS codes that are not answered with 400.
var snsStatus = map[string]int{
	"NotFound":                  http.StatusNotFound,
	"ResourceNotFound":          http.StatusNotFound,
	"AuthorizationError":        http.StatusForbidden,
	"InvalidSecurity":           http.StatusForbidden,
	"FilterPolicyLimitExceeded": http.StatusForbidden,
	"SubscriptionLimitExceeded": http.StatusForbidden,
	"TopicLimitExceeded":        http.StatusForbidden,
	"ReplayLimitExceeded":       http.StatusForbidden,
	"KMSOptInRequired":          http.StatusForbidden,
	"Throttled":                 http.StatusTooManyRequests,
	codeTooLarge:                http.StatusRequestEntityTooLarge,
	codeUnknownOperation:        http.StatusNotFound,
	codeInternal:                http.StatusInternalServerError,
}

// asAPIError makes an API error of any error. What is none is a fault of the engine.
func asAPIError(err error) *apierr.Error {
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		return e
	}
	return apierr.New(codeInternal, "%v", err)
}

func errMalformed(reason string) error {
	return apierr.New(codeMalformed, "%s", reason)
}

// jsonError is an error in SQS's JSON protocol.
func jsonError(err *apierr.Error) *Response {
	s := sqsShape(err.Code)
	body := appendJSONString([]byte(`{"__type":`), s.name)
	body = append(appendJSONString(append(body, `,"message":`...), err.Message), '}')
	fault := "Sender"
	if s.status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	return &Response{Status: s.status, ContentType: contentTypeJSON, QueryError: err.Code + ";" + fault, Body: body}
}

// xmlError is an error in the Query protocol of SQS or SNS.
func xmlError(service service, err *apierr.Error, requestID string) *Response {
	namespace, detail := "", ""
	status := http.StatusBadRequest
	if service == sqs {
		namespace, detail = ` xmlns="`+sqsNamespace+`"`, "<Detail/>"
		status = sqsShape(err.Code).status
		if err.Code == queue.CodeNonExistentQueue {
			err = apierr.New(err.Code, "The specified queue does not exist for this wsdl version.")
		}
		if err.Code == codeUnknownOperation {
			status = http.StatusNotFound
		}
	} else {
		namespace = ` xmlns="` + snsNamespace + `"`
		if s, ok := snsStatus[err.Code]; ok {
			status = s
		}
	}
	fault := "Sender"
	if status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?><ErrorResponse" + namespace + "><Error><Type>" + fault + "</Type><Code>")
	_ = xml.EscapeText(&b, []byte(err.Code)) // a strings.Builder never fails
	b.WriteString("</Code><Message>")
	_ = xml.EscapeText(&b, []byte(err.Message))
	b.WriteString("</Message>" + detail + "</Error><RequestId>" + requestID + "</RequestId></ErrorResponse>")
	return &Response{Status: status, ContentType: contentTypeXML, Body: []byte(b.String())}
}
