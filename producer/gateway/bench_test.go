package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

// turn is how many events go one way before those of the next.
const turn = 1000

// BenchmarkSideBySide takes turns between a Producer that is handed events, the same one behind the gateway's HTTP as a stream of lines,
// and behind MQTT with a broker in this process, and reports the speed of the gateway as parts of the Producer's. All are of 1,000
// devices, and end when the topic has confirmed the last. The clients and the broker work on the same cores. An operation is 1,000
// events each way.
func BenchmarkSideBySide(b *testing.B) {
	p := benchProducer(b)
	url := benchServe(b, p)
	deviceID := benchDevice(b, p)
	var lines bytes.Buffer
	for i := range turn {
		lines.WriteString(unnamed(i) + "\n")
	}
	client := &http.Client{Transport: &http.Transport{}}
	b.Cleanup(client.CloseIdleConnections)
	ways := []func(){
		func() {
			for i := range turn {
				e := events.New(fmt.Sprint("lamp-", i), device.PowerChanged{On: true})
				if err := p.Enqueue(context.Background(), e, nil); err != nil {
					b.Fatal(err)
				}
			}
		},
		func() {
			response, err := client.Post(url, ndjson, bytes.NewReader(lines.Bytes()))
			if err != nil {
				b.Fatal(err)
			}
			defer response.Body.Close()
			answers, err := io.ReadAll(response.Body)
			if n := bytes.Count(answers, []byte(`"status":202`)); err != nil || n != turn {
				b.Fatalf("%d lines accepted, %v", n, err)
			}
		},
		func() {
			for i := range turn {
				deviceID.Publish(fmt.Sprintf("devices/lamp-%d/events", i), 1, false, unnamed(i))
			}
		},
	}
	took := make([]time.Duration, len(ways))
	confirmed := p.Stats().Confirmed
	for b.Loop() {
		for w, way := range ways {
			start := time.Now()
			way()
			for confirmed += turn; p.Stats().Confirmed < confirmed; {
				time.Sleep(100 * time.Microsecond)
			}
			took[w] += time.Since(start)
		}
	}
	for w, name := range []string{"producer", "ndjson", "mqtt"} {
		b.ReportMetric(float64(turn*b.N)/took[w].Seconds(), name+"-events/s")
	}
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "ndjson/producer")
	b.ReportMetric(took[0].Seconds()/took[2].Seconds(), "mqtt/producer")
}

// unnamed is an event of device number i without an ID.
func unnamed(i int) string {
	return fmt.Sprintf(`{"device_id":"lamp-%d","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`, i)
}

func benchProducer(b *testing.B) *producer.Producer {
	b.Helper()
	api := local.New(local.Options{}).SNS()
	topic, err := api.CreateTopic(context.Background(), &sns.CreateTopicInput{
		Name: aws.String("dev-device-events.fifo"), Attributes: map[string]string{"FifoTopic": "true", "FifoThroughputScope": "MessageGroup"},
	})
	if err != nil {
		b.Fatal(err)
	}
	p, err := producer.New(api, aws.ToString(topic.TopicArn), producer.Config{Source: "gateway"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return p
}

// benchServe serves p over HTTP, and returns where events are posted.
func benchServe(b *testing.B, p *producer.Producer) (url string) {
	b.Helper()
	g := benchGateway(b, p)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	untilTheEnd(b, func(ctx context.Context) error { return g.Serve(ctx, listener) })
	return fmt.Sprintf("http://%s/v1/events", listener.Addr())
}

// benchDevice subscribes p to a broker, and returns a device that is connected to it.
func benchDevice(b *testing.B, p *producer.Producer) paho.Client {
	b.Helper()
	g := benchGateway(b, p)
	_, url := startBroker(b)
	device := connect(b, url, "device")
	untilTheEnd(b, func(ctx context.Context) error {
		return g.Subscribe(ctx, gateway.MQTT{Broker: url, ClientID: "gateway-1"})
	})
	for before := p.Stats().Confirmed; p.Stats().Confirmed == before; time.Sleep(10 * time.Millisecond) { // until it has subscribed
		device.Publish("devices/first/events", 1, false, power("first", "first")).Wait()
	}
	return device
}

func benchGateway(b *testing.B, p *producer.Producer) *gateway.Gateway {
	b.Helper()
	g, err := gateway.New(p, gateway.Anyone(), gateway.Config{})
	if err != nil {
		b.Fatal(err)
	}
	return g
}

// untilTheEnd runs a part of a gateway until the benchmark ends.
func untilTheEnd(b testing.TB, part func(context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- part(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
}
