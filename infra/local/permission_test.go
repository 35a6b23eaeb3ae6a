package local_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

const account = "111122223333"

func (w *world) tryPermit(url, label string, accounts []string, actions ...string) error {
	_, err := w.sqs.AddPermission(w.Context(), &sqs.AddPermissionInput{
		QueueUrl: &url, Label: &label, AWSAccountIds: accounts, Actions: actions,
	})
	return err
}

func (w *world) tryForbid(url, label string) error {
	_, err := w.sqs.RemovePermission(w.Context(), &sqs.RemovePermissionInput{QueueUrl: &url, Label: &label})
	return err
}

func TestPermissions_OfQueues(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"a permission becomes a statement of the policy, and goes again", func(w *world) {
			url := w.standard()
			w.must(w.tryPermit(url, "one", []string{account}, "ReceiveMessage"))
			const first = `{"Sid":"one","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},` +
				`"Action":"SQS:ReceiveMessage","Resource":"arn:aws:sqs:eu-central-1:000000000000:q"}`
			const head = `{"Version":"2008-10-17","Id":"arn:aws:sqs:eu-central-1:000000000000:q/SQSDefaultPolicy","Statement":[`
			if got, want := w.attributes(url, "Policy")["Policy"], head+first+`]}`; got != want {
				w.Errorf("got  %s\nwant %s", got, want)
			}
			w.must(w.tryPermit(url, "two", []string{account, "444455556666"}, "SendMessage", "GetQueueUrl"))
			want := head + first + `,{"Sid":"two","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:root",` +
				`"arn:aws:iam::444455556666:root"]},"Action":["SQS:SendMessage","SQS:GetQueueUrl"],` +
				`"Resource":"arn:aws:sqs:eu-central-1:000000000000:q"}]}`
			if got := w.attributes(url, "Policy")["Policy"]; got != want {
				w.Errorf("got  %s\nwant %s", got, want)
			}
			w.must(w.tryForbid(url, "two"))
			if got, want := w.attributes(url, "Policy")["Policy"], head+first+`]}`; got != want {
				w.Errorf("got  %s\nwant %s", got, want)
			}
			w.must(w.tryForbid(url, "one"))
			if got, ok := w.attributes(url, "All")["Policy"]; ok {
				w.Errorf("the policy is %s, want none", got)
			}
		}},
		{"what is refused", func(w *world) {
			url := w.standard()
			w.must(w.tryPermit(url, "one", []string{account}, "*"))
			w.refused(w.tryPermit(url, "one", []string{account}, "*"), "InvalidParameterValue", "Value one for parameter Label is invalid. Reason: Already exists.")
			w.refused(w.tryForbid(url, "two"), "InvalidParameterValue", "for parameter Label is invalid. Reason: ")
			w.refused(w.tryPermit(url, "a b", []string{account}, "*"), "InvalidParameterValue", "Label")
			w.refused(w.tryPermit(url, "x", []string{"me"}, "*"), "InvalidParameterValue", "PrincipalId")
			w.refused(w.tryPermit(url, "x", []string{account}, "DeleteQueue"), "InvalidParameterValue", "Value SQS:DeleteQueue for parameter ActionName is invalid.")
			eight := strings.Fields(strings.Repeat("SendMessage ", 8))
			w.refused(w.tryPermit(url, "x", []string{account}, eight...), "OverLimit", "8 Actions were found, maximum allowed is 7.")
			w.refused(w.tryPermit("http://h/1/nothing", "x", []string{account}, "*"), "AWS.SimpleQueueService.NonExistentQueue", "")
			w.is(w.json("AddPermission", `{"QueueUrl":"q","Label":"x","AWSAccountIds":["`+account+`"]}`), 400, "MissingParameter;Sender", "Actions")
			w.is(w.json("AddPermission", `{"QueueUrl":"q","Label":"x","Actions":["*"]}`), 400, "MissingParameter;Sender", "AWSAccountIds")
			w.is(w.json("RemovePermission", `{"QueueUrl":"q"}`), 400, "MissingParameter;Sender", "Label")
			w.set(url, attrs{"Policy": `{"Version":1}`})
			w.refused(w.tryPermit(url, "x", []string{account}, "*"), "InvalidAttributeValue", "Policy")
		}},
		{"statements of others stay, also a lone one", func(w *world) {
			url := w.standard(attrs{"Policy": `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*"}}`})
			w.must(w.tryPermit(url, "one", []string{account}, "*"))
			w.must(w.tryForbid(url, "one"))
			want := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*"}]}`
			if got := w.attributes(url, "Policy")["Policy"]; got != want {
				w.Errorf("got  %s\nwant %s", got, want)
			}
		}},
		{"the Query protocol", func(w *world) {
			url := w.standard()
			a := w.form("/000000000000/q", "Action", "AddPermission", "Label", "x", "AWSAccountId.1", account, "ActionName.1", "SendMessage", "ActionName.2", "PurgeQueue")
			w.is(a, 200, "", "<AddPermissionResponse")
			if got := w.attributes(url, "Policy")["Policy"]; !strings.Contains(got, `"Action":["SQS:SendMessage","SQS:PurgeQueue"]`) {
				w.Errorf("the policy is %s", got)
			}
			w.is(w.form("/000000000000/q", "Action", "RemovePermission", "Label", "x"), 200, "", "<RemovePermissionResponse")
		}},
	})
}

func TestPermissions_OfTopics(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"a permission stands behind the default policy, and goes again", func(w *world) {
			topic := w.topic("t.fifo")
			policy := func() string {
				out, err := w.sns.GetTopicAttributes(w.Context(), &sns.GetTopicAttributesInput{TopicArn: &topic})
				w.must(err)
				return out.Attributes["Policy"]
			}
			add := func(label, action string) error {
				_, err := w.sns.AddPermission(w.Context(), &sns.AddPermissionInput{
					TopicArn: &topic, Label: &label, AWSAccountId: []string{account}, ActionName: []string{action},
				})
				return err
			}
			before := policy()
			w.must(add("one", "Publish"))
			const want = `{"Sid":"one","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},` +
				`"Action":"SNS:Publish","Resource":"arn:aws:sns:eu-central-1:000000000000:t.fifo"}`
			if got := policy(); !strings.HasSuffix(got, ","+want+"]}") || !strings.Contains(got, "__default_statement_ID") {
				w.Errorf("the policy is %s", got)
			}
			w.refused(add("one", "Publish"), "InvalidParameter", "Invalid parameter: Statement already exists")
			w.refused(add("two", "SendMessage"), "InvalidParameter", "Invalid parameter: Policy statement action out of service scope!")
			w.refused(add("", "Publish"), "InvalidParameter", "Label")
			for range 2 {
				label := "one"
				_, err := w.sns.RemovePermission(w.Context(), &sns.RemovePermissionInput{TopicArn: &topic, Label: &label})
				w.must(err)
			}
			if got := policy(); strings.Contains(got, `"one"`) || len(got) != len(before) {
				w.Errorf("the policy is %s, want %s", got, before)
			}
			topic += "x"
			w.refused(add("one", "Publish"), "NotFound", "Topic does not exist")
		}},
	})
}
