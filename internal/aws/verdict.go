package aws

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// Class is what an error means for whoever made the request.
type Class int

// The classes. Whether one of them ends an attempt for good is up to the caller; [Class.Again] tells what needs nobody's help to pass.
const (
	OK          Class = iota // no error
	Unknown                  // no answer, or trouble within the service: the request may have been carried out
	Retry                    // not carried out; it can succeed a moment later
	Throttled                // not carried out, because there were too many requests, of the service or of its KMS key
	Expired                  // not carried out; the SDK fetches new credentials before the next attempt
	Credentials              // credentials or this machine's clock are wrong, or whoever gives out credentials refused them
	Denied                   // a permission is missing, or the KMS key can't be used
	Gone                     // there is no such queue or topic
	Refused                  // refused for a reason that need not lie in what was sent
	Final                    // refused by the service itself for what was sent: another entry would not have been refused
)

var classNames = [...]string{"ok", "unknown", "retry", "throttled", "expired", "credentials", "denied", "gone", "refused", "final"}

func (c Class) String() string { return classNames[c] }

// Again tells whether the same request may succeed a moment later without anybody's doing. After Unknown it may be carried out a second
// time, unless its deduplication ID is the same.
func (c Class) Again() bool { return Unknown <= c && c <= Expired }

// Verdict is what is known of an error. The zero value is that of no error.
type Verdict struct {
	Class
	Code string // as it was sent; empty when there was no answer
	// By is who said it: "SNS" or "SQS", "KMS" through one of them, or what was asked for credentials, such as "STS". It
	// is empty when that is not known.
	By string
	// Answered says that the service which was asked has answered, so that no answer is on its way or lost.
	Answered bool
}

// byEndpoint speaks for the endpoint that gives credentials to a container, on Fargate or EKS.
const byEndpoint = "credentials endpoint"

// classes has what the codes mean, without the prefix and the suffix that only some protocols add to them.
var classes = map[string]Class{
	"Throttled": Throttled,

	"RequestTimeout": Unknown, "InternalError": Unknown, "InternalFailure": Unknown, "InternalServerError": Unknown, "ServiceUnavailable": Unknown,

	"OverLimit": Retry, "PurgeQueueInProgress": Retry, "ConcurrentAccess": Retry, "IDPCommunicationError": Retry,

	"ExpiredToken": Expired, "RequestExpired": Expired,

	"InvalidClientTokenId": Credentials, "UnrecognizedClient": Credentials, "SignatureDoesNotMatch": Credentials, "InvalidSignature": Credentials,
	"IncompleteSignature": Credentials, "MissingAuthenticationToken": Credentials, "RequestTimeTooSkewed": Credentials, "AuthFailure": Credentials,
	"InvalidAccessKeyId": Credentials, "InvalidSecurity": Credentials, "InvalidIdentityToken": Credentials, "RegionDisabled": Credentials,

	"AccessDenied": Denied, "AuthorizationError": Denied, "UnauthorizedOperation": Denied,

	"QueueDoesNotExist": Gone, "NonExistentQueue": Gone, "QueueDeletedRecently": Gone, "InvalidAddress": Gone, "NotFound": Gone,
	"ResourceNotFound": Gone,

	"InvalidParameter": Final, "InvalidParameterValue": Final, "ParameterValueInvalid": Final, "ValidationError": Final, "Validation": Final,
	"MissingParameter": Final, "MissingRequiredParameter": Final, "InvalidMessageContents": Final, "BatchRequestTooLong": Final,
	"BatchEntryIdsNotDistinct": Final, "InvalidBatchEntryId": Final, "TooManyEntriesInBatchRequest": Final, "EmptyBatchRequest": Final,
	"ReceiptHandleIsInvalid": Final, "MessageNotInflight": Final,
}

// read looks a code up. It is false for one that is not known.
func read(code, message string) (Class, bool) {
	if _, throttled := retry.DefaultThrottleErrorCodes[code]; throttled {
		return Throttled, true
	}
	if ofKMS(code) { // such as KmsThrottled, KMSThrottling, KMS.ThrottlingException and KMSInternalException
		switch {
		case strings.Contains(code, "Throttl"):
			return Throttled, true
		case strings.Contains(code, "Internal"), strings.Contains(code, "Timeout"), strings.Contains(code, "Unavailable"):
			return Unknown, true
		}
		return Denied, true
	}
	class, known := classes[bare(code)]
	if class == Final && strings.Contains(message, "TopicArn") { // SNS has no code of its own for the topic's name
		class = Gone
	}
	return class, known
}

// general are the codes that say of a whole request only that something in it is wrong: the topic, the signature or the message.
var general = map[string]bool{
	"InvalidParameter": true, "InvalidParameterValue": true, "ParameterValueInvalid": true, "ValidationError": true, "Validation": true,
	"MissingParameter": true, "MissingRequiredParameter": true,
}

// aboutMessage tells whether a whole request was refused for a message in it, or a part of one. Where the code does not say so, the text must:
// SNS and SQS name what they don't like.
func aboutMessage(code, text string) bool {
	if !general[bare(code)] {
		return true
	}
	text = strings.ToLower(text)
	return !strings.Contains(text, "topic") && slices.ContainsFunc([]string{"message", "attribute", "entry", "entries"}, func(word string) bool {
		return strings.Contains(text, word)
	})
}

// VerdictOf tells what the error of a request means. A 4xx is not always the word of the service that was asked: clock, signature,
// credentials and KMS key have their say before it does.
func VerdictOf(err error) Verdict {
	if err == nil {
		return Verdict{}
	}
	asked, by := services(err)
	v := Verdict{Class: Unknown, By: by}
	var (
		api     smithy.APIError
		invalid smithy.InvalidParamsError
		dial    *net.OpError
	)
	switch {
	case errors.As(err, &api):
		status, own := statusOf(err, api)
		if !own { // of the endpoint that gives credentials to a container
			by = byEndpoint
		}
		v = Verdict{Class: classOf(api, status), Code: api.ErrorCode(), By: speaker(by, api.ErrorCode()), Answered: true}
	case errors.As(err, &invalid): // the SDK itself did not send it
		v.Class = Final
	case errors.As(err, &dial) && (dial.Op == "dial" || dial.Op == "proxyconnect"):
		v.Class = Retry
	}
	if by != asked { // there were no credentials to send the request with
		v.Answered = false
		switch {
		case v.Class == Unknown:
			v.Class = Retry
		case !v.Again():
			v.Class = Credentials
		}
	}
	return v
}

// Hint says what to do about it, or nothing where only whoever made the request can tell.
func (v Verdict) Hint() string {
	switch {
	case v.Class == Denied && v.By == "KMS":
		return "the KMS key of the queue or topic can't be used; check its state, its policy and the credentials' kms permissions"
	case v.Class == Credentials:
		return "check the credentials and this machine's clock"
	}
	return ""
}

// EntryVerdict tells what it means that a batch request failed for one of its entries.
func EntryVerdict(code, message string, senderFault bool) Verdict {
	class, known := read(code, message)
	switch {
	case class == Throttled:
	case !senderFault:
		class = Unknown
	case !known:
		class = Refused
	}
	return Verdict{Class: class, Code: code, By: speaker("", code), Answered: true}
}

// services are the service that was asked, and the last one that was asked for it.
func services(err error) (asked, last string) {
	for op := (*smithy.OperationError)(nil); errors.As(err, &op); err = op.Err {
		if last = op.ServiceID; asked == "" {
			asked = last
		}
	}
	return asked, last
}

// bare is a code without the prefix and the suffix that only some protocols add.
func bare(code string) string {
	return strings.TrimSuffix(strings.TrimPrefix(code, "AWS.SimpleQueueService."), "Exception")
}

func speaker(by, code string) string {
	if ofKMS(code) {
		return "KMS"
	}
	return by
}

func ofKMS(code string) bool { return len(code) > 3 && strings.EqualFold(code[:3], "KMS") }

func classOf(api smithy.APIError, status int) Class {
	class, known := read(api.ErrorCode(), api.ErrorMessage())
	switch {
	case status == http.StatusTooManyRequests, class == Throttled:
		return Throttled
	case status >= http.StatusInternalServerError, api.ErrorFault() == smithy.FaultServer: // whatever its code says
	case class == Final && !aboutMessage(api.ErrorCode(), api.ErrorMessage()):
		return Refused
	case known:
		return class
	case status == http.StatusRequestTimeout:
	case status >= http.StatusBadRequest, api.ErrorFault() == smithy.FaultClient:
		return Refused
	}
	return Unknown
}

// statusOf is the HTTP status of the answer. It is not the own one of the service that was asked if the error itself carries it, and not
// the response: so does that of the endpoint where containers get their credentials.
func statusOf(err error, api smithy.APIError) (status int, own bool) {
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return response.HTTPStatusCode(), true
	}
	if answered, ok := api.(interface{ HTTPStatusCode() int }); ok {
		return answered.HTTPStatusCode(), false
	}
	return 0, true
}
