// Package awssecret lets package database read logins from AWS Secrets Manager: to import it makes targets "secretsmanager:NAME" known, where NAME is
// the name or the ARN of a secret.
//
//	import _ "github.com/device-fanout/fanout/consumers/database/awssecret"
//
// It is a package of its own so that a service whose password comes otherwise does not link the client. The command line imports it.
package awssecret

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers/database"
)

// Scheme is what targets begin with.
const Scheme = "secretsmanager"

func init() { database.RegisterSecrets(Scheme, Read) }

// API is what reading needs of AWS Secrets Manager; [*secretsmanager.Client] has it.
type API interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

var (
	mu     sync.Mutex
	client API // nil until the first secret is read
)

// Read returns the text of a secret, by a client that the standard AWS configuration makes. The secret may be in another region than that one, if it
// is named by its ARN. The error does not show the text. Read is a [database.SecretReader], safe for concurrent use.
func Read(ctx context.Context, name string) (string, error) {
	mu.Lock()
	api := client
	mu.Unlock()
	if api == nil {
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return "", fmt.Errorf("AWS configuration: %w", err)
		}
		api = secretsmanager.NewFromConfig(cfg)
		mu.Lock()
		client = api
		mu.Unlock()
	}
	return read(ctx, api, name)
}

func read(ctx context.Context, api API, name string) (string, error) {
	out, err := api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name}, func(o *secretsmanager.Options) {
		if part := strings.Split(name, ":"); len(part) > 5 && part[0] == "arn" {
			o.Region = part[3]
		}
	})
	var answer smithy.APIError
	switch {
	case errors.As(err, &answer): // without the ID of the request: the same trouble has the same text
		return "", fmt.Errorf("read secret %s: %w", name, answer)
	case err != nil:
		return "", fmt.Errorf("read secret %s: %w", name, err)
	case out.SecretString == nil:
		return "", fmt.Errorf("read secret %s: it holds bytes, want text", name)
	}
	return *out.SecretString, nil
}
