package cli

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/device-fanout/fanout/internal/redact"
	"github.com/device-fanout/fanout/producer/gateway"
)

// mqttPassword is the variable of the environment that holds the password for the broker: every user of
// the machine can read a command line.
const mqttPassword = "FANOUT_MQTT_PASSWORD"

// mqttOptions are the flags of gateway for a broker.
type mqttOptions struct {
	gateway.MQTT
	ca, cert, key string
	alpn          []string
}

func (o *mqttOptions) bind(f *pflag.FlagSet) {
	f.StringVar(&o.Broker, "mqtt", "", "`URL` of an MQTT broker, such as tcp://127.0.0.1:1883 or ssl://HOST:8883")
	f.StringVar(&o.ClientID, "mqtt-client-id", "", "`NAME` of this gateway's session at the broker (default: from host and spool)")
	f.StringVar(&o.Topic, "mqtt-topic", gateway.DefaultTopic, "`FILTER` of topics, with a + for the device")
	f.StringArrayVar(&o.Former, "mqtt-former-topic", nil, "`FILTER` of before: what came by it is taken, and it ends; may be repeated")
	f.StringVar(&o.Refusals, "mqtt-refusals", "", "`TOPIC` where devices hear of refused messages, such as devices/+/refusals")
	f.StringVar(&o.Username, "mqtt-username", "", "user `NAME` for the broker")
	f.StringVar(&o.ca, "mqtt-ca", "", "trust only the authorities in this `FILE` for the broker (default: the system's)")
	f.StringVar(&o.cert, "mqtt-cert", "", "show the broker the certificate in this `FILE`; it is read again for every connection")
	f.StringVar(&o.key, "mqtt-key", "", "`FILE` of that certificate's private key")
	f.StringSliceVar(&o.alpn, "mqtt-alpn", nil, "`PROTOCOL` to ask for (ALPN): x-amzn-mqtt-ca for AWS IoT Core at port 443")
}

// config is what the flags ask for; its Broker is empty without any. spool is the gateway's.
func (o *mqttOptions) config(spool string) (gateway.MQTT, error) {
	cfg := o.MQTT
	if cfg.Broker == "" {
		return cfg, nil
	}
	cfg.Password = os.Getenv(mqttPassword)
	if cfg.ClientID == "" {
		var err error
		if cfg.ClientID, err = defaultClientID(spool); err != nil {
			return cfg, err
		}
	}
	if err := cfg.Validate(); err != nil {
		return cfg, &exitError{exitUsage, &hinted{err, "Broker, Topic, Former and Refusals are what --mqtt, --mqtt-topic, --mqtt-former-topic and --mqtt-refusals say"}}
	}
	var err error
	cfg.TLS, err = o.tls()
	return cfg, err
}

// checkLone refuses flags for a broker where none is named. An empty --mqtt says that none is wanted.
func (o *mqttOptions) checkLone(f *pflag.FlagSet) (err error) {
	f.Visit(func(flag *pflag.Flag) {
		if !f.Changed("mqtt") && strings.HasPrefix(flag.Name, "mqtt-") {
			err = &hinted{fmt.Errorf("--%s without --mqtt", flag.Name), "--mqtt names the broker, such as tcp://127.0.0.1:1883"}
		}
	})
	return err
}

// defaultClientID is the same after a restart, and another one on another host or with another spool. It has the 23 characters at most that
// every broker takes.
func defaultClientID(spool string) (string, error) {
	host, err := os.Hostname()
	if err == nil && spool != "" {
		spool, err = filepath.Abs(spool)
	}
	if err != nil {
		return "", &hinted{fmt.Errorf("no client ID for the MQTT broker: %w", err), "name one with --mqtt-client-id"}
	}
	sum := sha256.Sum256([]byte(host + "\x00" + spool))
	return "fanout" + hex.EncodeToString(sum[:8]), nil
}

func (o *mqttOptions) tls() (*tls.Config, error) {
	if o.ca == "" && o.cert == "" && o.key == "" && len(o.alpn) == 0 {
		return nil, nil // the system's authorities
	}
	if u, err := url.Parse(o.Broker); err == nil && slices.Contains([]string{"tcp", "mqtt", "ws"}, u.Scheme) {
		return nil, &exitError{exitUsage, &hinted{
			fmt.Errorf("--mqtt %s is not encrypted, so --mqtt-ca, --mqtt-cert, --mqtt-key and --mqtt-alpn have no meaning", redact.URL(o.Broker)), "want ssl://HOST:8883 or wss://HOST",
		}}
	}
	cfg := &tls.Config{NextProtos: o.alpn}
	if o.ca != "" {
		text, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, fmt.Errorf("--mqtt-ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--mqtt-ca: %s has no certificate in PEM form", o.ca)
		}
	}
	if (o.cert == "") != (o.key == "") {
		return nil, &exitError{exitUsage, errors.New("--mqtt-cert and --mqtt-key: want both or none")}
	}
	if o.cert != "" {
		if _, err := tls.LoadX509KeyPair(o.cert, o.key); err != nil {
			return nil, fmt.Errorf("--mqtt-cert: %w", err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.cert, o.key)
			return &pair, err
		}
	}
	return cfg, nil
}
