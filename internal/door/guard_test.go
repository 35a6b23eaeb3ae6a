package door

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	own, links := &Guard{}, &Guard{Links: true}
	named := &Guard{Hosts: []string{"console.example:4568"}}
	follow := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for name, c := range map[string]struct {
		guard  *Guard
		method string
		host   string
		header []string
		want   int
	}{
		"curl":                       {own, "GET", "127.0.0.1:4566", nil, 200},
		"localhost":                  {own, "POST", "localhost:1", nil, 200},
		"localhost without a port":   {own, "POST", "LOCALHOST.", nil, 200},
		"a name below it":            {own, "POST", "sqs.localhost:4566", nil, 200},
		"another of the network":     {own, "GET", "127.8.9.10", nil, 200},
		"IPv6":                       {own, "GET", "[::1]:4566", nil, 200},
		"IPv6 without a port":        {own, "GET", "[::1]", nil, 200},
		"IPv4 in IPv6":               {own, "GET", "[::ffff:127.0.0.1]:1", nil, 200},
		"a foreign name":             {own, "GET", "evil.example:4566", nil, 421},
		"one that looks like it":     {own, "GET", "localhost.evil.example", nil, 421},
		"and another":                {own, "GET", "127.0.0.1.evil.example", nil, 421},
		"another address":            {own, "GET", "192.0.2.1", nil, 421},
		"all addresses":              {own, "GET", "0.0.0.0:4566", nil, 421},
		"its own page":               {own, "POST", "localhost:1", []string{"Origin", "http://localhost:1", "Sec-Fetch-Site", "same-origin"}, 200},
		"typed in":                   {own, "GET", "localhost:1", []string{"Sec-Fetch-Site", "none"}, 200},
		"a foreign page":             {own, "POST", "localhost:1", []string{"Origin", "https://evil.example"}, 403},
		"no origin to speak of":      {own, "POST", "localhost:1", []string{"Origin", "null"}, 403},
		"one that is none":           {own, "POST", "localhost:1", []string{"Origin", "localhost:1"}, 403},
		"two of them":                {own, "POST", "localhost:1", []string{"Origin", "http://localhost:1", "Origin", "http://evil.example"}, 403},
		"another port":               {own, "POST", "localhost:1", []string{"Origin", "http://localhost:2"}, 403},
		"an image":                   {own, "GET", "localhost:1", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403},
		"an image of the same site":  {own, "GET", "localhost:1", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"a link":                     {own, "GET", "localhost:1", follow, 403},
		"a link where they are fine": {links, "GET", "localhost:1", follow, 200},
		"a form, though they are":    {links, "POST", "localhost:1", follow, 403},
		"a frame, though they are":   {links, "GET", "localhost:1", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		"a name that begins like it": {own, "POST", "localhost:1", []string{"Origin", "http://localhost:1.evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		"by its name":                {named, "GET", "Console.example:4568", nil, 200},
		"by its name, another port":  {named, "GET", "console.example:80", nil, 421},
		"not by that of loopback":    {named, "GET", "localhost:4568", nil, 421},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.Host = c.host
		for i := 0; i < len(c.header); i += 2 {
			r.Header.Add(c.header[i], c.header[i+1])
		}
		answer := httptest.NewRecorder()
		c.guard.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(answer, r)
		if answer.Code != c.want {
			t.Errorf("%s: got %d %s, want %d", name, answer.Code, answer.Body, c.want)
		}
	}
}

func TestListen_LoopbackOnly(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{"127.0.0.1:0": true, "localhost:0": true, "0.0.0.0:0": false, ":0": false} {
		l, err := Listen(addr, false)
		_, exposed := errors.AsType[*ExposedError](err)
		if (err == nil) != want || exposed == want {
			t.Errorf("%s: got %v, want allowed %t", addr, err, want)
		}
		if err == nil {
			_ = l.Close()
		}
	}
}
