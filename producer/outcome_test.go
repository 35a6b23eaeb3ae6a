package producer

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// TestJudge_WhoseVerdict: a request fails for what lies in an event, for the topic, or for whoever had to agree before it; only the
// first ends an event.
func TestJudge_WhoseVerdict(t *testing.T) {
	t.Parallel()
	of := func(service, code, message string) error {
		return &smithy.OperationError{ServiceID: service, Err: &smithy.GenericAPIError{Code: code, Message: message, Fault: smithy.FaultClient}}
	}
	through := func(err error) error { return &smithy.OperationError{ServiceID: "SNS", Err: err} }
	for _, tt := range []struct {
		name       string
		err        error
		want       outcome
		aboutEvent bool
	}{
		{"event", of("SNS", "InvalidParameter", "Invalid parameter: Message too long"), refusedTogether, true},
		{"topic", of("SNS", "InvalidParameter", "Invalid parameter: TopicArn"), retryable, false},
		{"topic is gone", of("SNS", "NotFound", ""), retryable, false},
		{"permission", of("SNS", "AuthorizationError", ""), retryable, false},
		{"clock", of("SNS", "SignatureDoesNotMatch", ""), retryable, false},
		{"KMS", of("SNS", "KMSDisabled", ""), retryable, false},
		{"STS", through(of("STS", "ValidationError", "")), retryable, false},
		{"KMS throttles", of("SNS", "KMSThrottling", ""), retryable, false},
		{"STS throttles", through(of("STS", "Throttling", "")), retryable, false},
		{"expired", of("SNS", "ExpiredToken", ""), retryable, false},
		{"no answer", errors.New("reset"), retryable, false},
	} {
		for i, o := range readAnswer(2, nil, tt.err) {
			if about := o.Class == awsx.Final; o.outcome != tt.want || about != tt.aboutEvent {
				t.Errorf("%s, entry %d: got %d, about the event %t, want %d, %t", tt.name, i, o.outcome, about, tt.want, tt.aboutEvent)
			}
		}
	}
	if o := readAnswer(1, nil, of("SNS", "InvalidParameter", "Invalid parameter: Message too long"))[0]; o.outcome != refused {
		t.Errorf("an event alone: got %+v, want it refused", o)
	}
	failed := []types.BatchResultErrorEntry{{Id: aws.String("1"), Code: aws.String("InvalidParameter"), SenderFault: true}}
	for i, o := range readAnswer(2, &sns.PublishBatchOutput{Failed: failed}, nil) {
		want, unknown := []outcome{retryable, refused}[i], i == 0
		if o.outcome != want || (o.Class == awsx.Unknown) != unknown {
			t.Errorf("entry %d: got %+v, want %d, unknown %t", i, o, want, unknown)
		}
	}
}
