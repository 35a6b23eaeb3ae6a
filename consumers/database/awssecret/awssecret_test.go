package awssecret

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers/database"
)

// fake is Secrets Manager with one answer.
type fake struct {
	text   *string
	err    error
	name   string // that it was asked for
	region string
}

func (f *fake) GetSecretValue(_ context.Context, in *secretsmanager.GetSecretValueInput, options ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	o := secretsmanager.Options{Region: "eu-central-1"}
	for _, option := range options {
		option(&o)
	}
	f.name, f.region = *in.SecretId, o.Region
	return &secretsmanager.GetSecretValueOutput{SecretString: f.text}, f.err
}

func TestRead(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-1-AbCdEf"
	denied := &smithy.OperationError{ServiceID: "Secrets Manager", OperationName: "GetSecretValue", Err: &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}}
	for name, test := range map[string]struct {
		fake         fake
		secret       string
		region, want string // want is in the text, or in the error
	}{
		"by name":    {fake{text: aws.String("text")}, "prod/history", "eu-central-1", "text"},
		"by ARN":     {fake{text: aws.String("text")}, arn, "eu-west-1", "text"},
		"bytes":      {fake{}, "prod/history", "eu-central-1", "read secret prod/history: it holds bytes"},
		"denied":     {fake{err: denied}, arn, "eu-west-1", "read secret " + arn + ": api error AccessDeniedException: no"},
		"no network": {fake{err: errors.New("no route")}, arn, "eu-west-1", "no route"},
	} {
		text, err := read(t.Context(), &test.fake, test.secret)
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, test.want) || test.fake.name != test.secret || test.fake.region != test.region {
			t.Errorf("%s: got %q, of %s in %s, want %q, of %s in %s", name, text, test.fake.name, test.fake.region, test.want, test.secret, test.region)
		}
	}
}

// The target is known by the import.
func TestRead_IsRegistered(t *testing.T) {
	t.Parallel()
	if err := database.Existing(Scheme + ":prod/history"); err != nil {
		t.Error(err)
	}
	if err := database.Existing(Scheme + `:{"password":"hidden"}`); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("the secret itself: got %v, want an error that does not show it", err)
	}
}
