package gateway

import (
	"errors"
	"net"
	"net/url"
	"os"
	"testing"
	"testing/synctest"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A broker that takes nothing is left: the client itself would wait for ever with an acknowledgement.
func TestDial_AWriteHasItsDeadline(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	broker := &url.URL{Scheme: "tcp", Host: l.Addr().String()}
	conn, err := dial(broker, *mqtt.NewClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(timelyConn); !ok {
		t.Errorf("got a %T, want one whose writes have a deadline", conn)
	}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		conn := timelyConn{ours}
		defer conn.Close()
		begin := time.Now()
		if _, err := conn.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != mqttWriteTimeout {
			t.Errorf("got %v after %v, want %v after %v", err, time.Since(begin), os.ErrDeadlineExceeded, mqttWriteTimeout)
		}
		time.Sleep(time.Hour) // which is no write
		go func() { _, _ = theirs.Read(make([]byte, 1)) }()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Errorf("a later write: %v", err)
		}
	})
}
