package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/device-fanout/fanout/internal/secrettest"
	"github.com/device-fanout/fanout/producer/gateway"
)

// logged collects what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestSecretKeys_FollowTheSecret: what is changed there counts within a minute. What can't be used, or read, changes nothing and is logged once,
// without anything that may be a secret.
func TestSecretKeys_FollowTheSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var secrets secrettest.Store
		first, entry, err := gateway.NewKey("first")
		if err != nil {
			t.Fatal(err)
		}
		second, other, err := gateway.NewKey("second")
		if err != nil {
			t.Fatal(err)
		}
		list := func(entries ...[]byte) string {
			return `{"keys":[` + strings.Join(func() (all []string) {
				for _, e := range entries {
					all = append(all, string(e))
				}
				return all
			}(), ",") + `]}`
		}
		secrets.Put("keys", list(entry))
		keys, err := gateway.LoadSecretKeys(t.Context(), secrets.Client(), "keys")
		if err != nil {
			t.Fatal(err)
		}
		var log logged
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { keys.Watch(ctx, 0, slog.New(slog.NewTextHandler(&log, nil))); close(ended) }()
		knows := func(want ...string) {
			t.Helper()
			synctest.Wait()
			for _, key := range []string{first, second} {
				_, got := keys.Check(key)
				if wanted := strings.Contains(strings.Join(want, " "), key); got != wanted {
					t.Errorf("key %q: let in %t, want %t; log:\n%s", key[:6], got, wanted, &log)
				}
			}
		}
		knows(first)
		secrets.Put("keys", list(entry, other))
		time.Sleep(59 * time.Second)
		knows(first)
		if secrets.Reads() != 1 {
			t.Errorf("read %d times within a minute, want once", secrets.Reads())
		}
		time.Sleep(time.Second)
		knows(first, second)
		secrets.Put("keys", list(other))
		time.Sleep(time.Minute)
		knows(second)

		const word = "very-secret-indeed"
		for what, spoil := range map[string]func(){
			"no JSON":             func() { secrets.Put("keys", word) },
			"a generated one":     func() { secrets.Put("keys", `{"username":"`+word+`","password":"`+word+`"}`) },
			"a key for its hash":  func() { secrets.Put("keys", `{"keys":[{"name":"first","sha256":"first.`+word+`"}]}`) },
			"a key for its name":  func() { secrets.Put("keys", `{"keys":[{"name":"first.`+word+`","sha256":"00"}]}`) },
			"null":                func() { secrets.Put("keys", "null") },
			"an empty object":     func() { secrets.Put("keys", "{}") },
			"no list":             func() { secrets.Put("keys", `{"keys":null}`) },
			"no right to read it": func() { secrets.Before(func(string) error { return errors.New("is not authorized") }) },
		} {
			before := log.String()
			spoil()
			time.Sleep(5 * time.Minute)
			knows(second)
			told := strings.TrimPrefix(log.String(), before)
			if n := strings.Count(told, "level=ERROR"); n != 1 || strings.Contains(told, word) || !strings.Contains(told, "keys stay as they were") {
				t.Errorf("%s: got %d errors, want one that shows no secret:\n%s", what, n, told)
			}
			secrets.Before(nil)
			secrets.Put("keys", list(other))
			time.Sleep(time.Minute)
		}
		secrets.Put("keys", list(entry))
		time.Sleep(time.Minute)
		knows(first)
		stop()
		<-ended
	})
}

func TestLoadSecretKeys_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	var secrets secrettest.Store
	secrets.Put("words", "no keys")
	for secret, want := range map[string]string{"": "name or ARN", "none": "ResourceNotFoundException", "words": "near line 1"} {
		_, err := gateway.LoadSecretKeys(t.Context(), secrets.Client(), secret)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), secret) {
			t.Errorf("secret %q: got %v, want it to say %q", secret, err, want)
		}
	}
}

// rivals change a secret between another's reading and writing.
type rivals struct {
	*secretsmanager.Client
	interfere func()
	lose      atomic.Bool // the next answer to UpdateSecretVersionStage
}

func (r *rivals) PutSecretValue(ctx context.Context, in *secretsmanager.PutSecretValueInput, o ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error) {
	r.interfere()
	return r.Client.PutSecretValue(ctx, in, o...)
}

func (r *rivals) UpdateSecretVersionStage(ctx context.Context, in *secretsmanager.UpdateSecretVersionStageInput, o ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretVersionStageOutput, error) {
	out, err := r.Client.UpdateSecretVersionStage(ctx, in, o...)
	if r.lose.CompareAndSwap(true, false) {
		return nil, &types.InvalidParameterException{} // what the SDK's second attempt is told
	}
	return out, err
}

// TestAddSecretKey_LosesNone: many at once, with others that change the secret between reading and writing, and with answers that are lost.
func TestAddSecretKey_LosesNone(t *testing.T) {
	t.Parallel()
	var secrets secrettest.Store
	secrets.Put("keys", `{"keys":[]}`)
	var mu sync.Mutex
	var made []string
	add := func(api gateway.SecretWriter, name string) {
		key, err := gateway.AddSecretKey(t.Context(), api, "keys", name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		made = append(made, key)
	}
	var adding sync.WaitGroup
	for i := range 8 {
		adding.Go(func() { add(secrets.Client(), fmt.Sprint("key-", i)) })
	}
	adding.Wait()
	var once sync.Once
	add(&rivals{Client: secrets.Client(), interfere: func() { once.Do(func() { add(secrets.Client(), "rival") }) }}, "overtaken")
	lossy := &rivals{Client: secrets.Client(), interfere: func() {}}
	lossy.lose.Store(true)
	add(lossy, "unheard")
	keys, err := gateway.LoadSecretKeys(t.Context(), secrets.Client(), "keys")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range made {
		if _, ok := keys.Check(key); !ok {
			t.Errorf("key %q is not in the secret", strings.Split(key, ".")[0])
		}
	}
	if keys.Len() != 11 || len(made) != 11 {
		t.Errorf("got %d keys in the secret, %d made, want 11", keys.Len(), len(made))
	}
	if labels := secrets.Labels("keys"); len(labels) != 2 {
		t.Errorf("labels: got %q, want AWSCURRENT and AWSPREVIOUS only", labels)
	}
	before := secrets.Text("keys")
	if _, err := gateway.AddSecretKey(t.Context(), secrets.Client(), "keys", "rival"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a name twice: got %v, want it refused", err)
	}
	secrets.Put("words", "no keys")
	if _, err := gateway.AddSecretKey(t.Context(), secrets.Client(), "words", "hall"); err == nil || secrets.Text("words") != "no keys" {
		t.Errorf("no keys: got %v and %q, want an error, and the text as it was", err, secrets.Text("words"))
	}
	secrets.Before(func(action string) error {
		if action == "UpdateSecretVersionStage" {
			return errors.New("no right to this")
		}
		return nil
	})
	if _, err := gateway.AddSecretKey(t.Context(), secrets.Client(), "keys", "late"); err == nil || !strings.Contains(err.Error(), "no right to this") {
		t.Errorf("without a right: got %v, want an error that says so", err)
	}
	if secrets.Text("keys") != before {
		t.Error("an error has changed the secret")
	}
}
