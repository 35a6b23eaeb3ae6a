package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/clock"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

func TestStartMove_MovesManyInPortions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := queue.NewService("r", "a", clock.Real())
		made := make(map[string]*queue.Queue)
		for _, name := range []string{"dlq", "q", "elsewhere"} {
			attributes := map[string]string{}
			if name == "q" {
				attributes["RedrivePolicy"] = `{"deadLetterTargetArn":"` + s.ARN("dlq") + `","maxReceiveCount":1}`
			}
			q, err := s.Create(name, attributes, nil)
			if err != nil {
				t.Fatal(err)
			}
			made[name] = q
		}
		const n = 25_000
		content := queue.NewContent("m", nil, "")
		for range n {
			if _, err := made["dlq"].Send(queue.SendInput{Content: content}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.StartMove(s.ARN("dlq"), s.ARN("elsewhere"), nil); err != nil {
			t.Fatal(err)
		}
		for _, want := range []queue.MoveStatus{queue.MoveRunning, queue.MoveCompleted} {
			tasks, err := s.Moves(s.ARN("dlq"), 10)
			if err != nil || len(tasks) != 1 {
				t.Fatalf("got %d tasks, %v, want 1", len(tasks), err)
			}
			total := 0
			for _, st := range s.Status() {
				total += st.Visible
			}
			if tasks[0].Status != want || total != n || want == queue.MoveCompleted && tasks[0].Moved != n {
				t.Errorf("got %+v with %d messages in all, want %s with %d", tasks[0], total, want, n)
			}
			time.Sleep(time.Second)
		}
	})
}
