package wire

import (
	"encoding/base64"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
	"github.com/device-fanout/fanout/infra/local/internal/topic"
)

// page cuts the page that a token asks for, of at most size, out of a list that is sorted by key, and makes the token of the
// next page, which is "" on the last. To clients a token is opaque; it holds the last key of its page.
func page[T any](s service, list []T, key func(T) string, size int, token string) (cut []T, next string, err error) {
	last, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		if s == sns {
			return nil, "", apierr.New(topic.CodeInvalidParameter, "Invalid parameter: NextToken")
		}
		return nil, "", apierr.New(queue.CodeInvalidParameter, "Value %s for parameter NextToken is invalid. Reason: It is no token of this service.", token)
	}
	for token != "" && len(list) > 0 && key(list[0]) <= string(last) {
		list = list[1:]
	}
	if len(list) <= size {
		return list, "", nil
	}
	return list[:size], base64.RawURLEncoding.EncodeToString([]byte(key(list[size-1]))), nil
}

// itself is the key of a list of names.
func itself(name string) string { return name }
