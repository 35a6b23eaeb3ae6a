package cli

import (
	"bytes"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// fromMemory sends request bodies from memory. The SDK closes a body as soon as it has the response's header; on loopback that
// can be before net/http has come to the body's end, and then net/http drops the connection, and the response with it.
type fromMemory struct{ aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c fromMemory) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return c.HTTPClient.Do(r)
}
