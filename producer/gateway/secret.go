package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"
)

// SecretReader is what [LoadSecretKeys] needs of AWS Secrets Manager; [*secretsmanager.Client] has it.
type SecretReader interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// SecretWriter is what [AddSecretKey] needs of AWS Secrets Manager; [*secretsmanager.Client] has it.
type SecretWriter interface {
	SecretReader
	PutSecretValue(context.Context, *secretsmanager.PutSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error)
	UpdateSecretVersionStage(context.Context, *secretsmanager.UpdateSecretVersionStageInput, ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretVersionStageOutput, error)
}

const (
	// currentVersion is the label of the version of a secret that counts.
	currentVersion = "AWSCURRENT"
	// secretPatience is how long one reading of a secret may take.
	secretPatience = 10 * time.Second
	// secretAttempts is how often AddSecretKey begins again because somebody else was quicker.
	secretAttempts = 20
)

// LoadSecretKeys reads keys, in the form of the file of [LoadKeys], from the text of a secret in AWS Secrets Manager, named by its name or ARN.
// [Keys.Watch] reads it again every minute.
func LoadSecretKeys(ctx context.Context, api SecretReader, secret string) (*Keys, error) {
	if secret == "" {
		return nil, errors.New("gateway: keys: got no secret, want the name or ARN of one")
	}
	return loadKeys(ctx, keySource{
		name: secret, every: time.Minute, unusable: "the secret with the keys cannot be used; the keys stay as they were",
		read: func(ctx context.Context) ([]byte, error) {
			text, _, err := readSecret(ctx, api, secret)
			return text, err
		},
	})
}

// readSecret returns the text of a secret and the ID of its version.
func readSecret(ctx context.Context, api SecretReader, secret string) (text []byte, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, secretPatience)
	defer cancel()
	out, err := api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &secret})
	if err != nil {
		return nil, "", secretError("read the secret", err)
	}
	if out.SecretString == nil {
		return nil, "", errors.New("the secret holds bytes, want text")
	}
	return []byte(*out.SecretString), aws.ToString(out.VersionId), nil
}

// secretError is an error of Secrets Manager without the ID of its request: the same trouble has the same text.
func secretError(doing string, err error) error {
	if code, ok := errors.AsType[smithy.APIError](err); ok {
		err = code
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// AddSecretKey makes a key as [NewKey] does and adds it to the keys in a secret of AWS Secrets Manager. A gateway that watches the secret knows it
// within a minute or so. It returns the text for the client.
//
// Several may add keys at once, and none is lost: the text with the new key becomes a version of its own, which Secrets Manager makes the
// current one only if the one that was read is still that; else AddSecretKey begins again. Who writes the secret in another way, as the console
// does, has no such guard. A name that is there already is an error, and so is a text that can't be read as keys: it stays as it was.
//
// Secrets Manager keeps a version for a day at least, and has room for about a hundred: add no more keys than that in a day.
func AddSecretKey(ctx context.Context, api SecretWriter, secret, name string) (text string, err error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("gateway: keys: %s: %w", secret, err) }
	if secret == "" {
		return "", errors.New("gateway: keys: got no secret, want the name or ARN of one")
	}
	text, entry, err := NewKey(name)
	if err != nil {
		return "", err
	}
	own, err := parseKeys([]byte(`{"keys":[` + string(entry) + `]}`))
	if err != nil {
		return fail(err)
	}
	for range secretAttempts {
		before, version, readErr := readSecret(ctx, api, secret)
		if readErr != nil {
			return fail(errors.Join(err, readErr))
		}
		if known, parseErr := parseKeys(before); parseErr == nil && known[name].hash == own[name].hash {
			return text, nil // the answer to an earlier attempt was lost
		}
		if err != nil && !errors.Is(err, errRival) {
			return fail(err)
		}
		after, addErr := withKey(before, name, entry)
		if addErr != nil {
			return fail(addErr)
		}
		if err = replaceSecret(ctx, api, secret, version, string(after)); err == nil {
			return text, nil
		}
	}
	return fail(err)
}

// errRival says that another version has become the current one meanwhile.
var errRival = errors.New("somebody else has changed the secret at the same time, again and again")

// replaceSecret makes text the current version of a secret if the one with the ID before still is.
func replaceSecret(ctx context.Context, api SecretWriter, secret, before, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*secretPatience)
	defer cancel()
	version := uuid.NewString()
	label := "fanout-" + version // a version without a label may vanish at any time
	put := &secretsmanager.PutSecretValueInput{SecretId: &secret, SecretString: &text, ClientRequestToken: &version, VersionStages: []string{label}}
	if _, err := api.PutSecretValue(ctx, put); err != nil {
		return secretError("write a new version of the secret", err)
	}
	_, err := api.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &secret, VersionStage: aws.String(currentVersion), MoveToVersionId: &version, RemoveFromVersionId: &before,
	})
	// What is left without its label vanishes in time. One that keeps it takes up a little room.
	_, _ = api.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{SecretId: &secret, VersionStage: &label, RemoveFromVersionId: &version})
	if _, moved := errors.AsType[*types.InvalidParameterException](err); moved {
		return errRival
	}
	if err != nil {
		return secretError("make the new version of the secret the current one", err)
	}
	return nil
}
