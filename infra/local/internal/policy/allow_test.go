package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/policy"
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
		"a denial without TLS by an unquoted bool is none": {usual + `},{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*",` +
			`"Condition":{"Bool":{"aws:SecureTransport":false}}}`, true},
		"a denial with TLS, in any case": {usual + `},{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*",` +
			`"Condition":{"Bool":{"aws:SecureTransport":"True"}}}`, false},
		"an unquoted number":               {usual + `,"Condition":{"StringNotEquals":{"aws:SourceAccount":[1,2]}}}`, true},
		"a condition on an object":         {usual + `,"Condition":{"StringNotEquals":{"aws:SourceAccount":{}}}}`, false},
		"a condition on null":              {usual + `,"Condition":{"StringNotEquals":{"aws:SourceAccount":null}}}`, false},
		"a star that must go back":         {usual + `,"Condition":{"ArnLike":{"aws:SourceArn":"*:t*fo*"}}}`, true},
		"stars and question marks in vain": {usual + `,"Condition":{"ArnLike":{"aws:SourceArn":"*:t?*fo?"}}}`, false},
		"all but an action":                {`{"Effect":"Allow","Principal":"*","NotAction":"sqs:DeleteQueue","Resource":"*"}`, false},
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

func TestAllows_ManyStars(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a", 2000)
	pattern := strings.Repeat("*a", 30) + "*x"
	statement := `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"` + pattern + `"}}`
	start := time.Now()
	if policy.Allows(statement, policy.Request{Resource: text}) {
		t.Error("the pattern matches")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
