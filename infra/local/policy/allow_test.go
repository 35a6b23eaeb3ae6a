package policy_test

import (
	"strings"
	"testing"

	"github.com/device-fanout/fanout/infra/local/policy"
)

func TestAllows(t *testing.T) {
	t.Parallel()
	const (
		queueARN = "arn:aws:sqs:eu-central-1:000000000000:q.fifo"
		topicARN = "arn:aws:sns:eu-central-1:000000000000:t.fifo"
	)
	request := policy.Request{
		Service: "sns.amazonaws.com", Action: "SQS:SendMessage", Resource: queueARN, SourceARN: topicARN, Account: "000000000000",
	}
	usual := `{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"` + queueARN + `"`
	source := func(operator, arn string) string {
		return `,"Condition":{"` + operator + `":{"aws:SourceArn":"` + arn + `"}}}`
	}
	for name, c := range map[string]struct {
		statements string
		want       bool
	}{
		"nothing":                             {``, false},
		"the usual":                           {usual + source("ArnEquals", topicARN), true},
		"another topic":                       {usual + source("ArnEquals", topicARN+"x"), false},
		"a pattern":                           {usual + source("ArnLike", "arn:aws:sns:*:*:t*"), true},
		"a pattern is no string":              {usual + source("StringEquals", "arn:aws:sns:*:*:t*"), false},
		"a string with a pattern":             {usual + source("StringLike", "*t.f?fo"), true},
		"without condition":                   {usual + `}`, true},
		"everybody":                           {`{"Effect":"Allow","Principal":"*","Action":["sqs:Receive*","SQS:*"],"Resource":"*"}`, true},
		"every account":                       {`{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"*","Resource":["x","` + queueARN + `"]}`, true},
		"one account":                         {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"*","Resource":"*"}`, false},
		"another action":                      {strings.Replace(usual, "Send", "Receive", 1) + `}`, false},
		"another queue":                       {strings.Replace(usual, "q.fifo", "q", 1) + `}`, false},
		"another service":                     {strings.Replace(usual, "sns", "s3", 1) + `}`, false},
		"its account":                         {usual + `,"Condition":{"StringEquals":{"AWS:SourceAccount":["1","000000000000"]}}}`, true},
		"two conditions, one of them not":     {usual + `,"Condition":{"StringEquals":{"aws:SourceAccount":"1"},"ArnEquals":{"aws:SourceArn":"` + topicARN + `"}}}`, false},
		"an unknown condition allows nothing": {usual + `,"Condition":{"DateLessThan":{"aws:CurrentTime":"2100-01-01T00:00:00Z"}}}`, false},
		"an unknown key allows nothing":       {usual + `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o"}}}`, false},
		"an unknown condition denies":         {usual + `},{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"x":{"y":"z"}}}`, false},
		"a denial wins":                       {`{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*"},` + usual + `}`, false},
		"a denial without TLS is none": {usual + `},{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*",` +
			`"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`, true},
		"a denial of other topics": {usual + `},{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*"` + source("ArnNotEquals", topicARN), true},
		"all but an action":        {`{"Effect":"Allow","Principal":"*","NotAction":"sqs:DeleteQueue","Resource":"*"}`, false},
	} {
		if got := policy.Allows(`{"Version":"2012-10-17","Statement":[`+c.statements+`]}`, request); got != c.want {
			t.Errorf("%s: allows is %t, want %t", name, got, c.want)
		}
	}
	for _, text := range []string{"", "x", "{}", `{"Statement":"x"}`, `{"Statement":[1]}`} {
		if policy.Allows(text, request) {
			t.Errorf("%q allows it", text)
		}
	}
	if !policy.Allows(`{"Statement":`+usual+`}}`, request) {
		t.Error("one statement without a list allows nothing")
	}
}
