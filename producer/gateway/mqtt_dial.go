package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/net/proxy"
)

// mqttWriteTimeout is how long a broker may take nothing before its connection is given up. What was not acknowledged it delivers again.
const mqttWriteTimeout = 5 * time.Second

// dial opens the connection to a broker as the client would by itself, by way of the proxy of the environment too, but with a deadline for
// every write: the client's own acknowledgements have none, and its pings wait behind them, so that a broker that hangs would never be left.
func dial(broker *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
	conn, err := dialPlainly(broker, o)
	if err != nil {
		return nil, err
	}
	return timelyConn{conn}, nil
}

func dialPlainly(broker *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
	if broker.Scheme == "ws" || broker.Scheme == "wss" {
		return mqtt.NewWebsocket(broker.String(), o.TLSConfig, o.ConnectTimeout, o.HTTPHeaders, o.WebsocketOptions)
	}
	conn, err := proxy.FromEnvironmentUsing(&net.Dialer{Timeout: o.ConnectTimeout}).Dial("tcp", broker.Host)
	if err != nil || broker.Scheme == "tcp" || broker.Scheme == "mqtt" {
		return conn, err
	}
	cfg := o.TLSConfig.Clone()
	cfg.ServerName = cmp.Or(cfg.ServerName, broker.Hostname())
	ctx, cancel := context.WithTimeout(context.Background(), o.ConnectTimeout)
	defer cancel()
	encrypted := tls.Client(conn, cfg)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return encrypted, nil
}

// timelyConn is a connection whose writes have a deadline.
type timelyConn struct{ net.Conn }

// Write implements net.Conn.
func (c timelyConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(mqttWriteTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
