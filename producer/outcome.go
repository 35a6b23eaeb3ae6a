package producer

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"
)

// fate is what has become of one entry of a batch.
type fate int

const (
	confirmed       fate = iota
	retryable            // not confirmed, but another attempt can succeed
	refusedTogether      // the whole request was refused for what may be one entry's fault
	refused              // no attempt can succeed
	overdue              // not sent again: it had to wait until an attempt could have made a second message
	abandoned            // not sent: Close has given up
)

// outcome is the answer to one entry.
type outcome struct {
	fate                      fate
	messageID, sequenceNumber string
	code                      string // the service's error code, if it gave one
	err                       error
	unknown                   bool // the entry may have been accepted although it was not confirmed
	aboutEvent                bool // a refusal that lies in this very event; another would not have been refused
}

var errNotMentioned = errors.New("the response does not mention the entry")

// judge reads the answer to a request of n entries. A PublishBatch that failed in part comes with HTTP 200 and no error, so
// every entry is looked up by its ID; one that stands in neither list has an unknown outcome.
func judge(n int, out *sns.PublishBatchOutput, err error) []outcome {
	outcomes := make([]outcome, n)
	if err != nil {
		o := judgeError(err)
		if o.fate == refused && n > 1 && o.aboutEvent {
			o.fate = refusedTogether
		}
		for i := range outcomes {
			outcomes[i] = o
		}
		return outcomes
	}
	for i := range outcomes {
		outcomes[i] = outcome{fate: retryable, unknown: true, err: errNotMentioned}
	}
	at := func(id *string) (int, bool) {
		i, err := strconv.Atoi(aws.ToString(id))
		return i, err == nil && i >= 0 && i < n
	}
	for _, ok := range out.Successful {
		if i, known := at(ok.Id); known {
			outcomes[i] = outcome{fate: confirmed, messageID: aws.ToString(ok.MessageId), sequenceNumber: aws.ToString(ok.SequenceNumber)}
		}
	}
	for _, failed := range out.Failed {
		i, known := at(failed.Id)
		if !known {
			continue
		}
		code := aws.ToString(failed.Code)
		o := outcome{fate: retryable, code: code, err: fmt.Errorf("%s: %s", cmp.Or(code, "no code"), aws.ToString(failed.Message))}
		switch {
		case throttled(code):
		case failed.SenderFault:
			o.fate, o.aboutEvent = refused, aboutEvent(code, aws.ToString(failed.Message))
		default:
			o.unknown = true
		}
		outcomes[i] = o
	}
	return outcomes
}

// entryAtFault has the error codes with which SNS refuses a whole batch because of one entry.
var entryAtFault = map[string]bool{
	"InvalidParameter":             true,
	"InvalidParameterValue":        true,
	"ParameterValueInvalid":        true,
	"ValidationError":              true,
	"ValidationException":          true,
	"BatchRequestTooLong":          true,
	"BatchEntryIdsNotDistinct":     true,
	"InvalidBatchEntryId":          true,
	"TooManyEntriesInBatchRequest": true,
}

// judgeError reads an error that stands for the whole request.
func judgeError(err error) outcome {
	o := outcome{fate: retryable, unknown: true, err: err}
	var api smithy.APIError
	if !errors.As(err, &api) {
		// No answer: it may have been lost after the topic had acted, unless there never was a connection.
		var dial *net.OpError
		o.unknown = !(errors.As(err, &dial) && dial.Op == "dial")
		return o
	}
	o.code = api.ErrorCode()
	var response *awshttp.ResponseError
	status := 0
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	switch {
	case throttled(o.code) || status == http.StatusTooManyRequests:
		o.unknown = false
	case credentialsExpired[o.code]:
		o.unknown = false
	case status >= http.StatusInternalServerError || api.ErrorFault() == smithy.FaultServer:
	case status >= http.StatusBadRequest || api.ErrorFault() == smithy.FaultClient:
		o.fate, o.unknown, o.aboutEvent = refused, false, aboutEvent(o.code, api.ErrorMessage())
	}
	return o
}

// aboutEvent tells whether a refusal lies in an event, and not in the topic, its ARN, permissions or keys.
func aboutEvent(code, message string) bool {
	return entryAtFault[code] && !strings.Contains(message, "TopicArn")
}

// credentialsExpired has the codes that end by themselves once the SDK has fetched new credentials.
var credentialsExpired = map[string]bool{
	"ExpiredToken":          true,
	"ExpiredTokenException": true,
	"RequestExpired":        true,
}

// throttled tells whether a code means that the service asks for fewer requests.
func throttled(code string) bool {
	if _, ok := retry.DefaultThrottleErrorCodes[code]; ok {
		return true
	}
	switch code {
	case "Throttled", "KMSThrottling", "KMSThrottlingException":
		return true
	}
	return false
}
