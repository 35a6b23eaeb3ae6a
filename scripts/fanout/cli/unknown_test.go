package cli

import (
	"context"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
)

// Another team publishes a type that this program does not know: the ready services keep it, a typed one does not.
func TestUp_TypesThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"ready services": 0, "typed": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := testApp()
			if name == "typed" {
				app.Services["state"] = func(ctx context.Context, o Options) (*Service, error) {
					s, err := State(ctx, o)
					if err == nil {
						s.UnknownTypes = false
					}
					return s, err
				}
			}
			reader, writer := io.Pipe()
			folder := t.TempDir()
			stdout, stderr := newOutput(), newOutput()
			code := make(chan int, 1)
			go func() {
				code <- Run(context.Background(), app, upArgs(folder, "--input", "-", "--until-idle", "100ms"), reader, stdout, stderr)
			}()
			g := &globals{app: app, endpoint: stderr.find(t, `SNS and SQS   (\S+)`)}
			api, err := g.clients(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			topics, err := api.sns.ListTopics(t.Context(), &sns.ListTopicsInput{})
			if err != nil {
				t.Fatal(err)
			}
			const data = `{"button": "front"}`
			_, err = api.sns.Publish(t.Context(), &sns.PublishInput{
				TopicArn: topics.Topics[0].TopicArn, MessageGroupId: aws.String("door"), MessageDeduplicationId: aws.String("e1"),
				Message:           aws.String(`{"specversion":"1.0","id":"e1","source":"x","subject":"door","time":"2026-01-01T00:00:00Z","type":"acme.doorbell.pressed.v3","data":` + data + `}`),
				MessageAttributes: map[string]types.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: aws.String("acme.doorbell.pressed.v3")}},
			})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(writer, generate(1))
			writer.Close()
			if got := <-code; got != exitOK && want == 0 {
				t.Errorf("exit code: got %d, want %d; standard error:\n%s", got, exitOK, stderr)
			}
			var sum upSummary
			finished{stdout: stdout.String()}.decode(t, &sum)
			if sum.DeadLettered["state"] != want || sum.DeadLettered["history"] != 0 || sum.Lost != 0 {
				t.Errorf("summary: got %s, want %d dead letters of state", stdout, want)
			}
			if n := count(t, folder); n != 2 {
				t.Errorf("history has %d rows, want 2", n)
			}
		})
	}
}
