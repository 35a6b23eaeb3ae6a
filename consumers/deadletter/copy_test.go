package deadletter_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

func TestCopy_GoesOnWhereTheOldRecordStood(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	old := deadletter.Record{MessageID: "m1", Redrives: 2, RedrivenAt: at}
	attributes := map[string]types.MessageAttributeValue{
		"type":               {DataType: aws.String("String"), StringValue: aws.String("x")},
		deadletter.Attribute: {DataType: aws.String("String"), StringValue: aws.String(old.Encode())},
	}
	in, recorded := deadletter.Failed{Body: "a\xffb", Attributes: attributes}.To("url", deadletter.Record{MessageID: "m2", Code: "c"})
	got, err := deadletter.ParseRecord(*in.MessageAttributes[deadletter.Attribute].StringValue)
	if err != nil || !recorded || got.MessageID != "m2" || got.Code != "c" || got.Redrives != 2 || !got.RedrivenAt.Equal(at) {
		t.Errorf("the record is %+v, %v", got, err)
	}
	if *in.MessageBody != "a\uFFFDb" || *in.MessageGroupId != "m2" || *in.MessageDeduplicationId != "m2" || len(in.MessageAttributes) != 2 {
		t.Errorf("the copy is %+v", in)
	}
	if got := *attributes[deadletter.Attribute].StringValue; got != old.Encode() {
		t.Error("the failed message's attributes were changed")
	}

	for i := range 9 {
		attributes[fmt.Sprint("a", i)] = attributes["type"]
	}
	if in, recorded := (deadletter.Failed{Body: "b", Group: "g", Attributes: attributes}).To("url", old); recorded || len(in.MessageAttributes) != 10 || *in.MessageGroupId != "g" {
		t.Errorf("with ten attributes of its own it has %d, recorded is %t", len(in.MessageAttributes), recorded)
	}
}

func TestWithoutRecord(t *testing.T) {
	t.Parallel()
	refused := &smithy.GenericAPIError{Code: "InvalidParameterValue"}
	in, _ := deadletter.Failed{Body: "b", Group: "g"}.To("url", deadletter.Record{MessageID: "m"})
	for _, err := range []error{errors.New("reset"), &smithy.GenericAPIError{Code: "RequestThrottled"}} {
		if deadletter.WithoutRecord(in, err) || len(in.MessageAttributes) != 1 {
			t.Errorf("%v took the record off", err)
		}
	}
	if !deadletter.WithoutRecord(in, fmt.Errorf("send: %w", refused)) || len(in.MessageAttributes) != 0 {
		t.Error("a refused copy still has its record")
	}
	if deadletter.WithoutRecord(in, refused) {
		t.Error("there was no record to take off")
	}
}
