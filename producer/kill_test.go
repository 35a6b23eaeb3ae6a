package producer_test

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
)

// What the child process is told.
const (
	childSpool    = "FANOUT_TEST_SPOOL"
	childEndpoint = "FANOUT_TEST_ENDPOINT"
	childTopic    = "FANOUT_TEST_TOPIC"
	childRound    = "FANOUT_TEST_ROUND"
)

// TestSpool_SurvivesKill kills a gateway under load with SIGKILL ten times over: what it had said to be accepted arrives, in order.
func TestSpool_SurvivesKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Engine.Faults().Add(faults.Rule{Kind: faults.Throttle, Action: "PublishBatch", Probability: 0.05, Seed: 1})
	w.Engine.Faults().Add(faults.Rule{Kind: faults.DropReply, Action: "PublishBatch", Probability: 0.01, Seed: 2})
	url, err := w.Engine.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	spool := t.TempDir()
	accepted := map[string][]string{}
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childSpool+"="+spool, childEndpoint+"="+url, childTopic+"="+w.topic, fmt.Sprintf("%s=%d", childRound, round))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		killAt := 100 + rand.IntN(400)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			device, id, _ := strings.Cut(lines.Text(), " ")
			if n == killAt {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if strings.HasSuffix(id, ".") { // the whole line was written
				accepted[device] = append(accepted[device], strings.TrimSuffix(id, "."))
			}
		}
		if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the child ended by itself: %v", err)
		}
	}
	total := 0
	for _, ids := range accepted {
		total += len(ids)
	}
	p := w.producer(t, w.SNS, producer.Config{Spool: spool})
	left := p.Stats().Spooled
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events were accepted, %d of them were waiting in the end", total, left)
	w.expect(t, accepted)
}

// publishUntilKilled publishes for twenty devices at once and says what was accepted, a line each.
func publishUntilKilled(ctx context.Context) {
	topics := sns.New(sns.Options{
		BaseEndpoint: aws.String(os.Getenv(childEndpoint)), Region: local.DefaultRegion,
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
	p, err := producer.New(topics, os.Getenv(childTopic), producer.Config{Spool: os.Getenv(childSpool)})
	if err != nil {
		log.Fatal(err)
	}
	var gateway sync.WaitGroup
	for d := range 20 {
		gateway.Go(func() {
			device := fmt.Sprintf("device-%02d", d)
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%s-%06d", device, os.Getenv(childRound), i)
				if err := p.Publish(ctx, motion(device, id)); err != nil {
					log.Fatal(err)
				}
				if _, err := fmt.Printf("%s %s.\n", device, id); err != nil {
					log.Fatal(err)
				}
			}
		})
	}
	gateway.Wait()
}
