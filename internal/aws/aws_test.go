package aws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// op is an error as the SDK returns it: of an operation, with a status if there was a response.
func op(service string, status int, err error) error {
	if status != 0 {
		err = &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
		}}
	}
	return &smithy.OperationError{ServiceID: service, OperationName: "Some", Err: err}
}

func says(code, message string) error {
	return &smithy.GenericAPIError{Code: code, Message: message}
}

// credentials is the error of a request for which there were no credentials.
func credentials(err error) error {
	return op("SNS", 0, fmt.Errorf("get identity: get credentials: failed to refresh cached credentials, %w", err))
}

// endpointError is what the SDK returns when the endpoint that gives credentials to a container refuses: an API error with its own status,
// without an operation around it.
type endpointError struct {
	code   string
	status int
}

func (e *endpointError) Error() string                 { return e.code }
func (e *endpointError) ErrorCode() string             { return e.code }
func (e *endpointError) ErrorMessage() string          { return "" }
func (e *endpointError) ErrorFault() smithy.ErrorFault { return smithy.FaultUnknown }
func (e *endpointError) HTTPStatusCode() int           { return e.status }

func TestVerdictOf(t *testing.T) {
	t.Parallel()
	const prefix = "AWS.SimpleQueueService."
	for _, tt := range []struct {
		name     string
		err      error
		want     Class
		by       string
		answered bool
	}{
		{"nothing", nil, OK, "", false},

		{"reset", op("SQS", 0, errors.New("connection reset by peer")), Unknown, "SQS", false},
		{"time out", op("SQS", 0, context.DeadlineExceeded), Unknown, "SQS", false},
		{"read", op("SQS", 0, &net.OpError{Op: "read", Err: errors.New("reset")}), Unknown, "SQS", false},
		{"unreadable", op("SQS", 200, &smithy.DeserializationError{Err: errors.New("<html>")}), Unknown, "SQS", false},
		{"wrong checksum", op("SQS", 0, errors.New("invalid checksum")), Unknown, "SQS", false},
		{"no listener", op("SNS", 0, &net.OpError{Op: "dial", Err: errors.New("refused")}), Retry, "SNS", false},
		{"no proxy", op("SNS", 0, &net.OpError{Op: "proxyconnect", Err: errors.New("refused")}), Retry, "SNS", false},
		{"not sent", op("SQS", 0, smithy.InvalidParamsError{}), Final, "SQS", false},

		{"internal", op("SNS", 500, says("InternalError", "")), Unknown, "SNS", true},
		{"unavailable", op("SNS", 503, says("ServiceUnavailable", "")), Unknown, "SNS", true},
		{"a proxy's page", op("SNS", 502, says("UnknownError", "")), Unknown, "SNS", true},
		{"server's fault", &smithy.GenericAPIError{Code: "Strange", Fault: smithy.FaultServer}, Unknown, "", true},
		{"slow request", op("SQS", 400, says("RequestTimeoutException", "")), Unknown, "SQS", true},
		{"slow request by its status", op("SQS", 408, says("Strange", "")), Unknown, "SQS", true},
		{"nobody's fault", says("Strange", ""), Unknown, "", true},

		{"KMS fails", op("SNS", 500, says("KMSInternalException", "")), Unknown, "KMS", true},
		{"KMS is slow, legacy code", op("SQS", 400, says("KMS.DependencyTimeoutException", "")), Unknown, "KMS", true},
		{"unavailable, with a code of its own", op("SNS", 503, says("AccessDenied", "")), Unknown, "SNS", true},

		{"SNS throttles", op("SNS", 400, says("Throttled", "")), Throttled, "SNS", true},
		{"API throttles", op("SNS", 400, says("ThrottlingException", "")), Throttled, "SNS", true},
		{"SQS throttles", op("SQS", 403, says("RequestThrottled", "")), Throttled, "SQS", true},
		{"throttled by its status", op("SNS", 429, says("UnknownError", "")), Throttled, "SNS", true},
		{"KMS throttles SQS", op("SQS", 400, says("KmsThrottled", "")), Throttled, "KMS", true},
		{"KMS throttles SQS, legacy code", op("SQS", 400, says("KMS.ThrottlingException", "")), Throttled, "KMS", true},
		{"KMS throttles SNS", op("SNS", 400, says("KMSThrottling", "")), Throttled, "KMS", true},
		{"KMS throttles SNS, by type", op("SNS", 400, says("KMSThrottlingException", "")), Throttled, "KMS", true},
		{"many in flight", op("SQS", 403, says("OverLimit", "")), Retry, "SQS", true},

		{"expired", op("SNS", 403, says("ExpiredToken", "")), Expired, "SNS", true},
		{"expired, JSON", op("SQS", 403, says("ExpiredTokenException", "")), Expired, "SQS", true},
		{"unknown key", op("SNS", 403, says("InvalidClientTokenId", "")), Credentials, "SNS", true},
		{"unknown key, JSON", op("SQS", 403, says("UnrecognizedClientException", "")), Credentials, "SQS", true},
		{"clock", op("SNS", 403, says("SignatureDoesNotMatch", "Signature expired")), Credentials, "SNS", true},
		{"clock, other words", op("SNS", 403, says("RequestTimeTooSkewed", "")), Credentials, "SNS", true},
		{"not signed", op("SQS", 400, says("IncompleteSignatureException", "")), Credentials, "SQS", true},

		{"STS refuses", credentials(op("STS", 403, says("AccessDenied", "not authorized to perform sts:AssumeRole"))), Credentials, "STS", false},
		{"STS knows no such token", credentials(op("STS", 400, says("InvalidIdentityToken", ""))), Credentials, "STS", false},
		{"STS: region", credentials(op("STS", 403, says("RegionDisabledException", ""))), Credentials, "STS", false},
		{"STS: parameter", credentials(op("STS", 400, says("ValidationError", ""))), Credentials, "STS", false},
		{"STS: its token has expired", credentials(op("STS", 400, says("ExpiredTokenException", ""))), Expired, "STS", false},
		{"STS throttles", credentials(op("STS", 400, says("Throttling", ""))), Throttled, "STS", false},
		{"STS fails", credentials(op("STS", 503, says("ServiceUnavailable", ""))), Retry, "STS", false},
		{"STS does not answer", credentials(op("STS", 0, context.DeadlineExceeded)), Retry, "STS", false},

		{"STS: its identity provider does not answer", credentials(op("STS", 400, says("IDPCommunicationError", ""))), Retry, "STS", false},
		{"container's credentials: throttled", credentials(&endpointError{"", 429}), Throttled, byEndpoint, false},
		{"container's credentials: it fails", credentials(&endpointError{"InternalServerException", 500}), Retry, byEndpoint, false},
		{"container's credentials: refused", credentials(&endpointError{"AccessDenied", 403}), Credentials, byEndpoint, false},

		{"denied", op("SQS", 403, says("AccessDeniedException", "")), Denied, "SQS", true},
		{"denied, query", op("SQS", 403, says("AccessDenied", "")), Denied, "SQS", true},
		{"denied by SNS", op("SNS", 403, says("AuthorizationError", "")), Denied, "SNS", true},
		{"key", op("SQS", 400, says("KmsAccessDenied", "")), Denied, "KMS", true},
		{"key, legacy code", op("SQS", 400, says("KMS.AccessDeniedException", "")), Denied, "KMS", true},
		{"key of a topic", op("SNS", 400, says("KMSDisabled", "")), Denied, "KMS", true},
		{"key is deleted", op("SNS", 400, says("KMSInvalidStateException", "")), Denied, "KMS", true},

		{"queue", op("SQS", 400, says(prefix+"NonExistentQueue", "")), Gone, "SQS", true},
		{"queue, JSON", op("SQS", 400, says("QueueDoesNotExist", "")), Gone, "SQS", true},
		{"topic", op("SNS", 404, says("NotFound", "Topic does not exist")), Gone, "SNS", true},
		{"topic's ARN", op("SNS", 400, says("InvalidParameter", "Invalid parameter: TopicArn")), Gone, "SNS", true},
		{"resource", op("SQS", 404, says("ResourceNotFoundException", "")), Gone, "SQS", true},

		{"parameter", op("SNS", 400, says("InvalidParameter", "Invalid parameter: Message too long")), Final, "SNS", true},
		{"value", op("SQS", 400, says("InvalidParameterValue", "Message (user) attribute 'a' must contain a non-empty type.")), Final, "SQS", true},
		{"characters", op("SQS", 400, says("InvalidMessageContents", "")), Final, "SQS", true},
		{"batch", op("SQS", 400, says(prefix+"BatchRequestTooLong", "")), Final, "SQS", true},
		{"validation", op("SNS", 400, says("ValidationException", "Value null at 'publishBatchRequestEntries.1.member.message'")), Final, "SNS", true},
		{"parameter that is not the message's", op("SNS", 400, says("InvalidParameter", "Invalid parameter: X-Amz-Date")), Refused, "SNS", true},
		{"parameter without a word", op("SQS", 400, says("InvalidParameterValue", "")), Refused, "SQS", true},
		{"kind of the topic", op("SNS", 400, says("InvalidParameter", "Invalid parameter: MessageDeduplicationId Reason: The request includes "+
			"MessageDeduplicationId parameter that is not valid for this topic type")), Refused, "SNS", true},
		{"topic in a validation", op("SNS", 400, says("ValidationError", "Value at 'topicArn' failed to satisfy constraint: Member must not be null")), Refused, "SNS", true},
		{"missing parameter", op("SNS", 400, says("MissingParameter", "The request must contain the parameter AWSAccessKeyId")), Refused, "SNS", true},
		{"handle", op("SQS", 404, says("ReceiptHandleIsInvalid", "")), Final, "SQS", true},
		{"not in flight", op("SQS", 400, says(prefix+"MessageNotInflight", "")), Final, "SQS", true},
		{"something else", op("SNS", 400, says("EndpointDisabled", "")), Refused, "SNS", true},
		{"client's fault", &smithy.GenericAPIError{Code: "Strange", Fault: smithy.FaultClient}, Refused, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := VerdictOf(tt.err)
			if got.Class != tt.want || got.By != tt.by || got.Answered != tt.answered {
				t.Errorf("got %v by %q, answered %t, want %v by %q, %t", got.Class, got.By, got.Answered, tt.want, tt.by, tt.answered)
			}
		})
	}
}

func TestEntryVerdict(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code, message string
		senderFault   bool
		want          Class
	}{
		{"InternalError", "", false, Unknown},
		{"InternalFailure", "", false, Unknown},
		{"", "", false, Unknown},
		{"Strange", "", false, Unknown},
		{"AccessDenied", "", false, Unknown},
		{"Throttled", "", false, Throttled},
		{"RequestThrottled", "", true, Throttled},
		{"KmsThrottled", "", true, Throttled},
		{"KMSThrottlingException", "", true, Throttled},
		{"KmsDisabled", "", true, Denied},
		{"AccessDenied", "", true, Denied},
		{"InvalidParameter", "Invalid parameter: TopicArn", true, Gone},
		{"InvalidParameterValue", "", true, Final},
		{"InvalidMessageContents", "", true, Final},
		{"ReceiptHandleIsInvalid", "", true, Final},
		{"AWS.SimpleQueueService.MessageNotInflight", "", true, Final},
		{"Strange", "", true, Refused},
	} {
		if got := EntryVerdict(tt.code, tt.message, tt.senderFault); got.Class != tt.want || got.Code != tt.code {
			t.Errorf("%s, sender's fault %t: got %v, want %v", tt.code, tt.senderFault, got, tt.want)
		}
	}
}

func TestClass_AgainNeedsNobody(t *testing.T) {
	t.Parallel()
	for class, want := range map[Class]bool{
		OK: false, Unknown: true, Retry: true, Throttled: true, Expired: true,
		Credentials: false, Denied: false, Gone: false, Refused: false, Final: false,
	} {
		if got := class.Again(); got != want {
			t.Errorf("%v: got %t", class, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	b := Backoff{First: 50 * ms, Most: 5000 * ms, Rand: func(n time.Duration) time.Duration { return n - 1 }}
	for failures, want := range map[int]time.Duration{
		0: 50 * ms, 1: 50 * ms, 2: 100 * ms, 3: 200 * ms, 7: 3200 * ms, 8: 5000 * ms, 9: 5000 * ms, 1 << 40: 5000 * ms,
	} {
		if got := b.Doubled(failures); got != want {
			t.Errorf("%d failures: got %v, want %v", failures, got, want)
		}
		if got := b.After(failures); got != want/2+1 {
			t.Errorf("%d failures, least: got %v, want %v", failures, got, want/2+1)
		}
	}
	for n := range 100 {
		if got := (Backoff{First: time.Second}).After(n + 1); got < time.Second/2 {
			t.Errorf("%d failures without a bound: got %v", n+1, got)
		}
		if got := (Backoff{First: time.Second, Most: time.Minute}).After(n + 1); got <= time.Second/2 || got > time.Minute {
			t.Errorf("%d failures: got %v", n+1, got)
		}
	}
	for _, b := range []Backoff{{}, {First: -1}, {First: 1, Most: 1}, {Most: time.Second}} {
		if got := b.After(5); got > 1<<4 || got < 0 {
			t.Errorf("%+v: got %v", b, got)
		}
	}
}

func TestAnswers_BelongToTheirEntries(t *testing.T) {
	t.Parallel()
	list := AnswersOf(4, nil)
	list.Succeed(EntryID(2), aws.String("m2"), aws.String("20"))
	list.Succeed(EntryID(0), nil, nil)
	list.Fail(EntryID(3), aws.String("Throttled"), aws.String("slow down"), true)
	for _, id := range []*string{nil, aws.String(""), aws.String("x"), aws.String("-1"), aws.String("4"), aws.String("99999999999999999999")} {
		list.Succeed(id, aws.String("wrong"), nil)
		list.Fail(id, nil, nil, false)
	}
	if a := list[0]; a != (Answer{}) {
		t.Errorf("entry 0: got %+v", a)
	}
	if a := list[1]; !errors.Is(a.Err, ErrNotMentioned) || a.Class != Unknown || a.Answered {
		t.Errorf("entry 1: got %+v, want it to be unknown", a)
	}
	if a := list[2]; a.Err != nil || a.Class != OK || a.MessageID != "m2" || a.SequenceNumber != "20" {
		t.Errorf("entry 2: got %+v", a)
	}
	if a := list[3]; a.Class != Throttled || a.Err.Error() != "Throttled: slow down" {
		t.Errorf("entry 3: got %+v", a)
	}
	for i, a := range AnswersOf(MaxBatch, op("SQS", 0, &net.OpError{Op: "dial", Err: errors.New("refused")})) {
		if a.Class != Retry || a.Err == nil || *EntryID(i) != strconv.Itoa(i) {
			t.Errorf("entry %d: got %+v", i, a)
		}
	}
}
