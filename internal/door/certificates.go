package door

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Certificates reads a certificate and its private key, and makes a configuration that reads them again when they have changed. It looks at the
// files at a handshake, once a second at most. A new pair is used from then on; one that can't be used, as half of a new one can't, leaves the old one in place.
// logger, which is never nil, hears of both. protocols are those of ALPN, the preferred one first.
func Certificates(certFile, keyFile string, logger *slog.Logger, protocols ...string) (*tls.Config, error) {
	c := &certificates{certFile: certFile, keyFile: keyFile, logger: logger, looked: time.Now()}
	if err := c.read(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
	}, nil
}

// certificates is a pair of files and what was read from them.
type certificates struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu        sync.Mutex
	looked    time.Time
	cert, key []byte // as they were read
	pair      *tls.Certificate
	trouble   string // what was logged last
}

// lookEvery is how often the files are looked at.
const lookEvery = time.Second

func (c *certificates) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.pair
	}
	c.looked = time.Now()
	before := c.pair
	switch err := c.read(); {
	case err != nil && err.Error() != c.trouble:
		c.trouble = err.Error()
		c.logger.Warn("the changed certificate can't be used; the old one stays", "err", err)
	case err == nil && c.pair != before:
		c.logger.Info("certificate read again", "file", c.certFile)
		fallthrough
	case err == nil:
		c.trouble = ""
	}
	return c.pair
}

// read reads the files; mu is held, or nobody else has c.
func (c *certificates) read() error {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return err
	}
	if bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", c.certFile, c.keyFile, err)
	}
	c.cert, c.key, c.pair = cert, key, &pair
	return nil
}
