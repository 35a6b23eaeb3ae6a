// Package secrettest is AWS Secrets Manager for tests: in memory, with what this module asks of it. Versions and their labels behave as the
// API reference says.
package secrettest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// Store keeps secrets. It is an [http.Handler], for AWS_ENDPOINT_URL_SECRETS_MANAGER; Client reaches it without a socket. The zero value is
// empty. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	secrets map[string]*secret
	before  func(action string) error
	reads   int
}

type secret struct {
	texts  map[string]string // by version
	labels map[string]string // label to version
	order  int
}

const current = "AWSCURRENT"

// Put makes text the current version of a secret, as somebody in the console does.
func (s *Store) Put(name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets == nil {
		s.secrets = map[string]*secret{}
	}
	kept := s.secrets[name]
	if kept == nil {
		kept = &secret{texts: map[string]string{}, labels: map[string]string{}}
		s.secrets[name] = kept
	}
	kept.order++
	version := fmt.Sprintf("00000000-0000-0000-0000-%012d", kept.order)
	kept.texts[version] = text
	kept.move(current, version)
}

// Text is the current text of a secret.
func (s *Store) Text(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.secrets[name]
	if kept == nil {
		return ""
	}
	return kept.texts[kept.labels[current]]
}

// Labels are the labels that versions of a secret have, in order.
func (s *Store) Labels(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	if kept := s.secrets[name]; kept != nil {
		for label := range kept.labels {
			all = append(all, label)
		}
	}
	slices.Sort(all)
	return all
}

// Reads is how often a secret was read.
func (s *Store) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// Before has f called before every request, with the name of the action such as GetSecretValue. An error of it is the answer. Nil for none.
func (s *Store) Before(f func(action string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// Client is a client that reaches the store without a socket.
func (s *Store) Client() *secretsmanager.Client {
	return secretsmanager.New(secretsmanager.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String("http://secrets.invalid"), Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		HTTPClient: inMemory{s}, RetryMaxAttempts: 1,
	})
}

type inMemory struct{ http.Handler }

// Do implements what the SDK wants of an HTTP client.
func (m inMemory) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer := httptest.NewRecorder()
	m.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// request has the members of all actions.
type request struct {
	SecretID            string `json:"SecretId"`
	SecretString        string
	ClientRequestToken  string
	VersionStages       []string
	VersionStage        string
	MoveToVersionID     string `json:"MoveToVersionId"`
	RemoveFromVersionID string `json:"RemoveFromVersionId"`
}

// ServeHTTP implements http.Handler.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("x-amzn-RequestId", rand.Text()) // each request has its own
	answer, code, text := s.answer(r)
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"__type": code, "message": text}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *Store) answer(r *http.Request) (_ map[string]any, code, text string) {
	var in request
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, "InvalidRequestException", err.Error()
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil {
		if err := before(action); err != nil {
			return nil, "AccessDeniedException", err.Error()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.secrets[in.SecretID]
	if kept == nil {
		return nil, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."
	}
	out := map[string]any{"ARN": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:" + in.SecretID, "Name": in.SecretID}
	switch action {
	case "GetSecretValue":
		s.reads++
		version := kept.labels[current]
		out["SecretString"], out["VersionId"] = kept.texts[version], version
	case "PutSecretValue":
		if len(in.VersionStages) == 0 {
			in.VersionStages = []string{current}
		}
		kept.texts[in.ClientRequestToken] = in.SecretString
		for _, label := range in.VersionStages {
			kept.move(label, in.ClientRequestToken)
		}
		out["VersionId"] = in.ClientRequestToken
	case "UpdateSecretVersionStage":
		from, labelled := kept.labels[in.VersionStage]
		switch _, known := kept.texts[in.MoveToVersionID]; {
		case labelled && from != in.RemoveFromVersionID:
			return nil, "InvalidParameterException", "The staging label is attached to another version."
		case in.MoveToVersionID == "":
			delete(kept.labels, in.VersionStage)
		case !known:
			return nil, "ResourceNotFoundException", "Secrets Manager can't find the version."
		default:
			kept.move(in.VersionStage, in.MoveToVersionID)
		}
	default:
		return nil, "InvalidRequestException", "no such action: " + action
	}
	return out, "", ""
}

// move attaches a label to a version. Versions without one are gone.
func (kept *secret) move(label, version string) {
	if label == current && kept.labels[current] != "" {
		kept.labels["AWSPREVIOUS"] = kept.labels[current]
	}
	kept.labels[label] = version
	labelled := map[string]bool{}
	for _, version := range kept.labels {
		labelled[version] = true
	}
	for version := range kept.texts {
		if !labelled[version] {
			delete(kept.texts, version)
		}
	}
}
