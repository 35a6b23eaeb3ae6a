package door

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/device-fanout/fanout/internal/logtest"
)

// pairOf makes a certificate with a serial number, and its key.
func pairOf(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

func TestCertificates_AreReadAgain(t *testing.T) {
	t.Parallel()
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	write := func(cert, key []byte) {
		t.Helper()
		for file, text := range map[string][]byte{certFile: cert, keyFile: key} {
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var log logtest.Log
	cert1, key1 := pairOf(t, 1)
	cert2, key2 := pairOf(t, 2)
	c := &certificates{certFile: certFile, keyFile: keyFile, logger: log.Logger()}
	write(cert1, key1)
	if err := c.read(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name      string
		cert, key []byte
		serial    int64
		warnings  int
	}{
		{"unchanged", cert1, key1, 1, 0},
		{"half of a new pair", cert2, key1, 1, 1},
		{"half of a file", cert2[:len(cert2)/2], key2, 1, 2},
		{"the new pair", cert2, key2, 2, 2},
		{"nothing", nil, nil, 2, 3},
		{"the old one", cert1, key1, 1, 3},
	} {
		write(step.cert, step.key)
		for range 3 { // what is wrong is said once
			c.looked = time.Time{} // long ago
			leaf, err := x509.ParseCertificate(c.current().Certificate[0])
			if err != nil || leaf.SerialNumber.Int64() != step.serial {
				t.Errorf("%s: got serial number %v, %v, want %d", step.name, leaf.SerialNumber, err, step.serial)
			}
		}
		if got := log.Count("level=WARN"); got != step.warnings {
			t.Errorf("%s: %d warnings so far, want %d", step.name, got, step.warnings)
		}
	}
	if _, err := Certificates(certFile, filepath.Join(t.TempDir(), "none"), slog.Default()); err == nil {
		t.Error("a key that is not there: got no error")
	}
}
