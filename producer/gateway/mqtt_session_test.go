package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/logtest"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

// listed takes events and lists them.
type listed struct {
	mu    sync.Mutex
	taken []string
}

func (l *listed) publisher() gateway.Publisher {
	return fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
		l.mu.Lock()
		l.taken = append(l.taken, e.DeviceID+" "+e.ID)
		l.mu.Unlock()
		done(producer.Result{Event: e})
		return nil
	}}
}

func (l *listed) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.taken)
}

// A broker keeps the subscriptions of a session. After a change of the filter, what comes by the old one is of no device, unless the old
// filter is named: then it is taken, and the subscription ends.
func TestSubscribe_AfterAChangeOfTheFilter(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{false, true} {
		taken := &listed{}
		w := newFakeWorld(t, taken.publisher(), gateway.Config{})
		b, url := startBroker(t)
		w.subscribeAs(t, gateway.MQTT{Broker: url, ClientID: "gateway-1", Topic: "sites/hall/+"})()
		device := connect(t, url, "device")
		publish(t, device, "sites/hall/lamp-1", power("lamp-1", "kept"), false)
		eventually(t, "the broker to keep it", func() bool { return inFlight(b) == 1 })

		cfg := gateway.MQTT{Broker: url, ClientID: "gateway-1", Topic: "sites/+/lamp-2"} // "hall" stands where a device does now
		if named {
			cfg.Former = []string{"sites/hall/+"}
		}
		w.subscribeAs(t, cfg)
		eventually(t, "the kept message's end", func() bool { return inFlight(b) == 0 })
		publish(t, device, "sites/hall/lamp-1", strings.Replace(power("lamp-1", "later"), `"device_id":"lamp-1",`, "", 1), false)
		publish(t, device, "sites/kitchen/lamp-2", power("kitchen", "new"), false)
		eventually(t, "the new one", func() bool { return slices.Contains(taken.all(), "kitchen new") })
		want := []string{"kitchen new"}
		if named {
			want = []string{"lamp-1 kept", "kitchen new"}
		}
		if got := taken.all(); !slices.Equal(got, want) {
			t.Errorf("former filter named: %v: taken: got %q, want %q", named, got, want)
		}
		if refused := strings.Contains(w.scrape(t), `{result="foreign-topic",transport="mqtt"} 2`); refused == named {
			t.Errorf("former filter named: %v: refused as foreign: %v", named, refused)
		}
	}
}

// clientsEnd waits for MQTT clients that were ended between two attempts to connect: they notice after their pause.
func clientsEnd(t *testing.T) {
	t.Helper()
	eventually(t, "the MQTT client to notice that its attempts are over", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !bytes.Contains(stacks, []byte("(*client).Connect.func1")) && !bytes.Contains(stacks, []byte("(*client).reconnect"))
	})
}

// Whoever goes back to a former filter and leaves it named would end the very subscription that was just made, and hear nothing.
func TestSubscribe_TheFilterIsNoFormerOne(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t, confirming, gateway.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // where it is no error it ends at once
	err := w.Subscribe(ctx, gateway.MQTT{Broker: "tcp://127.0.0.1:1", ClientID: "g", Former: []string{"sites/+/lamp", gateway.DefaultTopic}})
	if err == nil || !strings.Contains(err.Error(), `Former: got "devices/+/events"`) {
		t.Errorf("got %v, want that the filter is in use", err)
	}
}

func TestSubscribe_TellsARivalWithItsClientID(t *testing.T) {
	t.Parallel()
	var log logtest.Log
	w := newFakeWorld(t, confirming, gateway.Config{Logger: log.Logger()})
	_, url := startBroker(t)
	w.subscribeAs(t, gateway.MQTT{Broker: url, ClientID: "gateway-1"})
	rival := paho.NewClient(paho.NewClientOptions().AddBroker(url).SetClientID("gateway-1").SetAutoReconnect(true).SetMaxReconnectInterval(10 * time.Millisecond))
	if token := rival.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer rival.Disconnect(0)
	eventually(t, "a word about the cause", func() bool {
		return strings.Contains(log.String(), "level=ERROR") && strings.Contains(log.String(), "same client ID?") && strings.Contains(log.String(), "client_id=gateway-1")
	})
}

// A password in the URL reaches the broker and no log, however long the broker refuses.
func TestSubscribe_LogsNoPassword(t *testing.T) {
	t.Parallel()
	var log logtest.Log
	ledger := &auth.Ledger{Auth: auth.AuthRules{{Username: "gw", Password: "s3cret", Allow: true}, {Allow: false}}, ACL: auth.ACLRules{{Username: "gw"}}}
	b := broker.New(&broker.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := b.AddHook(new(auth.Hook), &auth.Options{Ledger: ledger}); err != nil {
		t.Fatal(err)
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := b.AddListener(tcp); err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w := newFakeWorld(t, confirming, gateway.Config{Logger: log.Logger()})
	w.subscribeAs(t, gateway.MQTT{Broker: "mqtt://gw:s3cret@" + tcp.Address(), ClientID: "gateway-1"})()

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- w.Subscribe(ctx, gateway.MQTT{Broker: "mqtt://gw:wr0ng@" + tcp.Address(), ClientID: "gateway-2"})
	}()
	eventually(t, "a refusal", func() bool { return strings.Contains(log.String(), "no connection to the broker") })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	clientsEnd(t)
	err := w.Subscribe(t.Context(), gateway.MQTT{Broker: "mqtt://gw:s3cret@127.0.0.1:x y", ClientID: "g"})
	if err == nil {
		t.Fatal("a broken URL is taken")
	}
	for _, text := range []string{log.String(), err.Error()} {
		if strings.Contains(text, "s3cret") || strings.Contains(text, "wr0ng") {
			t.Errorf("a password is shown: %s", text)
		}
	}
}

func TestSubscribe_TellsDevicesWhatWasRefused(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t, confirming, gateway.Config{})
	_, url := startBroker(t)
	w.subscribeAs(t, gateway.MQTT{Broker: url, ClientID: "gateway-1", Refusals: "devices/+/refusals"})
	device := connect(t, url, "lamp-1")
	heard := make(chan string, 10)
	token := device.Subscribe("devices/lamp-1/refusals", 1, func(_ paho.Client, m paho.Message) { heard <- string(m.Payload()) })
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	publish(t, device, "devices/lamp-1/events", strings.Replace(power("lamp-1", "e"), `"on"`, `"off"`, 1), false)
	publish(t, device, "devices/lamp-2/events", "{", false) // somebody else's
	publish(t, device, "devices/lamp-1/events", "{", false)
	for _, want := range []string{"invalid-event", "malformed-json"} {
		text := <-heard
		var got struct {
			Type       string `json:"type"`
			ReasonCode int    `json:"reason_code"`
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || !strings.HasSuffix(got.Type, want) || got.ReasonCode != 0x99 {
			t.Errorf("got %s, %v, want %s with reason code %d", text, err, want, 0x99)
		}
	}
	err := w.Subscribe(t.Context(), gateway.MQTT{Broker: url, ClientID: "g", Refusals: "devices/+/events"})
	if err == nil || !strings.Contains(err.Error(), `Refusals: got "devices/+/events"`) {
		t.Errorf("got %v, want refusals that come back refused", err)
	}
}

// A broker with a private authority that asks for certificates and for an application protocol, as AWS IoT Core does.
func TestSubscribe_WithCertificates(t *testing.T) {
	t.Parallel()
	authority, key := certificate(t, nil, nil)
	server, serverKey := certificate(t, authority, key)
	client, clientKey := certificate(t, authority, key)
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	asked := make(chan []string, 10)
	b := broker.New(&broker.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := b.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tls", Address: "127.0.0.1:0", TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{server.Raw}, PrivateKey: serverKey}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool, NextProtos: []string{"x-amzn-mqtt-ca"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			asked <- hello.SupportedProtos
			return nil, nil
		},
	}})
	if err := b.AddListener(tcp); err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w := newFakeWorld(t, confirming, gateway.Config{})
	stop := w.subscribeAs(t, gateway.MQTT{Broker: "ssl://" + tcp.Address(), ClientID: "gateway-1", TLS: &tls.Config{
		RootCAs: pool, NextProtos: []string{"x-amzn-mqtt-ca"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{client.Raw}, PrivateKey: clientKey}, nil
		},
	}})
	if got := <-asked; !slices.Equal(got, []string{"x-amzn-mqtt-ca"}) {
		t.Errorf("protocols asked for: got %q", got)
	}
	stop() // before the broker
}

// certificate makes one for 127.0.0.1, signed by parent or, if that is nil, by itself.
func certificate(t *testing.T, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		parent, by = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}
