package local_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// dead sends messages to a queue named from and lets them move to its dead-letter queue.
func (w *world) dead(from string, messages ...string) {
	w.Helper()
	url := "http://127.0.0.1:4566/000000000000/" + from
	w.sendAll(url, messages...)
	for got := 0; got < len(messages); {
		received := w.receive(url, 10)
		got += len(received)
		for _, m := range received {
			w.hide(url, m, 0)
		}
		if len(received) == 0 {
			break
		}
	}
	w.gets(url)
}

type moving func(*sqs.StartMessageMoveTaskInput)

func perSecond(n int32) moving {
	return func(in *sqs.StartMessageMoveTaskInput) { in.MaxNumberOfMessagesPerSecond = &n }
}

func to(name string) moving {
	return func(in *sqs.StartMessageMoveTaskInput) { in.DestinationArn = aws.String(arnPrefix + name) }
}

func (w *world) tryMove(name string, options ...moving) (string, error) {
	in := &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(arnPrefix + name)}
	for _, o := range options {
		o(in)
	}
	out, err := w.sqs.StartMessageMoveTask(w.Context(), in)
	if err != nil {
		return "", err
	}
	return *out.TaskHandle, nil
}

func (w *world) move(name string, options ...moving) string {
	w.Helper()
	handle, err := w.tryMove(name, options...)
	w.must(err)
	return handle
}

func (w *world) moves(name string, n int32) []sqstypes.ListMessageMoveTasksResultEntry {
	w.Helper()
	out, err := w.sqs.ListMessageMoveTasks(w.Context(), &sqs.ListMessageMoveTasksInput{
		SourceArn: aws.String(arnPrefix + name), MaxResults: &n,
	})
	w.must(err)
	return out.Results
}

// task compares the latest task: status, moved, to move.
func (w *world) task(name, want string) sqstypes.ListMessageMoveTasksResultEntry {
	w.Helper()
	all := w.moves(name, 1)
	if len(all) != 1 {
		w.Fatalf("%d tasks are listed, want 1", len(all))
	}
	t := all[0]
	if got := fmt.Sprint(*t.Status, " ", t.ApproximateNumberOfMessagesMoved, " ", *t.ApproximateNumberOfMessagesToMove); got != want {
		w.Fatalf("the task is %s (status, moved, to move), want %s", got, want)
	}
	if (t.TaskHandle != nil) != (*t.Status == "RUNNING") {
		w.Errorf("the task is %s, its handle is %v", *t.Status, t.TaskHandle)
	}
	return t
}

func (w *world) tryCancel(handle string) (int64, error) {
	out, err := w.sqs.CancelMessageMoveTask(w.Context(), &sqs.CancelMessageMoveTaskInput{TaskHandle: &handle})
	if err != nil {
		return 0, err
	}
	return out.ApproximateNumberOfMessagesMoved, nil
}

func TestMove(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"only out of a dead-letter queue, and only to a queue that is there and of the same type", func(w *world) {
			w.queue("dlq")
			w.queue("other.fifo")
			_, err := w.tryMove("nothing")
			w.refused(err, "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.")
			_, err = w.tryMove("dlq")
			w.refused(err, "InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
			w.standard(redriveTo("dlq", 1))
			_, err = w.tryMove("dlq", to("nothing"))
			w.refused(err, "ResourceNotFoundException", "The resource that you specified for the DestinationArn parameter doesn't exist.")
			_, err = w.tryMove("dlq", to("other.fifo"))
			w.refused(err, "InvalidParameterValue", "same type")
			_, err = w.tryMove("dlq", to("dlq"))
			w.refused(err, "InvalidParameterValue", "different queues")
			for _, n := range []int32{0, -1, 501} {
				_, err = w.tryMove("dlq", perSecond(n))
				w.refused(err, "InvalidParameterValue", "MaxNumberOfMessagesPerSecond")
			}
			w.is(w.json("StartMessageMoveTask", `{"SourceArn":"`+arnPrefix+`nothing"}`), 404, "ResourceNotFoundException;Sender", `com.amazonaws.sqs#ResourceNotFoundException`)
			w.is(w.json("StartMessageMoveTask", `{}`), 400, "MissingParameter;Sender", "SourceArn")
			w.is(w.json("ListMessageMoveTasks", `{"SourceArn":"`+arnPrefix+`dlq"}`), 200, "", `{}`)
			w.is(w.json("ListMessageMoveTasks", `{"SourceArn":"`+arnPrefix+`dlq","MaxResults":11}`), 400, "InvalidParameterValue;Sender", "MaxResults")
		}},
		{"without a destination messages go back, as new ones", func(w *world) {
			dlq := w.queue("dlq")
			url := w.standard(redriveTo("dlq", 1))
			w.dead("q", "m1", "m2")
			dead := w.receive(dlq, 2, visibleAfter(1))
			w.sleep(time.Hour)
			w.move("dlq")
			task := w.task("dlq", "COMPLETED 2 2")
			if task.DestinationArn != nil || task.MaxNumberOfMessagesPerSecond != nil || task.FailureReason != nil ||
				*task.SourceArn != arnPrefix+"dlq" || task.StartedTimestamp != time.Now().UnixMilli() {
				w.Errorf("got %+v", task)
			}
			w.holds("dlq", 0, 0, 0)
			for i, m := range w.gets(url, "m1", "m2") {
				if *m.MessageId == *dead[i].MessageId || m.Attributes["ApproximateReceiveCount"] != "1" ||
					m.Attributes["SentTimestamp"] != fmt.Sprint(time.Now().UnixMilli()) || m.Attributes["DeadLetterQueueSourceArn"] != "" {
					w.Errorf("moved %v, got %v, want a new message", dead[i], m)
				}
			}
		}},
		{"each message goes back to its own source", func(w *world) {
			w.queue("dlq.fifo")
			a, b := w.queue("a.fifo", redriveTo("dlq.fifo", 1)), w.queue("b.fifo", redriveTo("dlq.fifo", 1))
			w.dead("a.fifo", "m1@g", "m2@g")
			w.dead("b.fifo", "m3@g")
			w.move("dlq.fifo")
			w.task("dlq.fifo", "COMPLETED 3 3")
			w.gets(a, "m1@g", "m2@g")
			w.gets(b, "m3@g")
		}},
		{"a rate is kept, and long polls are served", func(w *world) {
			w.queue("dlq")
			url := w.standard(redriveTo("dlq", 1))
			w.dead("q", "m1", "m2", "m3", "m4")
			handle := w.move("dlq", perSecond(1))
			if w.remote == nil { // else a pause in between may move another
				if task := w.task("dlq", "RUNNING 1 4"); *task.TaskHandle != handle || *task.MaxNumberOfMessagesPerSecond != 1 {
					w.Errorf("got %+v", task)
				}
			}
			w.gets(url, "m1")
			w.took(3*time.Second, func() {
				for _, want := range []string{"m2", "m3", "m4"} {
					w.are(w.receive(url, 1, waiting(20)), want)
				}
			})
			w.task("dlq", "COMPLETED 4 4")
		}},
		{"five hundred a second are two milliseconds each", func(w *world) {
			w.queue("dlq")
			w.standard(redriveTo("dlq", 1))
			w.dead("q", "m1", "m2", "m3")
			w.move("dlq", perSecond(500))
			w.sleep(4*time.Millisecond - time.Nanosecond)
			w.task("dlq", "RUNNING 2 3")
			w.sleep(2 * time.Nanosecond)
			w.task("dlq", "COMPLETED 3 3")
		}},
		{"a task is cancelled, and what was not moved stays", func(w *world) {
			w.queue("dlq")
			w.standard(redriveTo("dlq", 1))
			var messages []string
			for i := range 10 {
				messages = append(messages, fmt.Sprintf("m%d", i))
			}
			w.dead("q", messages...)
			handle := w.move("dlq", perSecond(1))
			w.sleep(1500 * time.Millisecond)
			moved, err := w.tryCancel(handle)
			w.must(err)
			if moved != 2 {
				w.Errorf("cancelled after %d messages, want 2", moved)
			}
			w.task("dlq", "CANCELLING 2 10")
			_, err = w.tryMove("dlq")
			w.refused(err, "InvalidParameterValue", "There is already a task running.")
			w.sleep(2 * time.Second)
			w.task("dlq", "CANCELLED 2 10")
			w.holds("dlq", 8, 0, 0)
			w.holds("q", 2, 0, 0)
			_, err = w.tryCancel(handle)
			w.refused(err, "AWS.SimpleQueueService.UnsupportedOperation", "CANCELLED")
			w.move("dlq")
			w.task("dlq", "COMPLETED 8 8")
			if all := w.moves("dlq", 10); len(all) != 2 || *all[0].Status != "COMPLETED" || *all[1].Status != "CANCELLED" {
				w.Errorf("got %v, want the newest first", all)
			}
		}},
		{"a handle must be one, and its task be there", func(w *world) {
			w.queue("dlq")
			w.standard(redriveTo("dlq", 1))
			for _, handle := range []string{"garbage", "e30=", base64.StdEncoding.EncodeToString([]byte(`{"taskId":""}`))} {
				_, err := w.tryCancel(handle)
				w.refused(err, "InvalidParameterValue", "Value for parameter TaskHandle is invalid.")
			}
			for _, source := range []string{"dlq", "nothing"} {
				_, err := w.tryCancel(base64.StdEncoding.EncodeToString([]byte(`{"taskId":"x","sourceArn":"` + arnPrefix + source + `"}`)))
				w.refused(err, "ResourceNotFoundException", "Task does not exist.")
			}
			w.is(w.json("CancelMessageMoveTask", `{}`), 400, "MissingParameter;Sender", "TaskHandle")
		}},
		{"deduplication does not swallow what is moved, and still knows what was sent", func(w *world) {
			w.queue("dlq.fifo")
			url := w.fifo(redriveTo("dlq.fifo", 1))
			w.dead("q.fifo", "m@g")
			w.move("dlq.fifo")
			again := w.gets(url, "m@g")[0]
			w.hide(url, again, 0)
			w.gets(url) // to the dead-letter queue once more
			w.move("dlq.fifo")
			w.gets(url, "m@g")
			w.send(url, "m@g") // five minutes are not over
			w.holds("q.fifo", 0, 1, 0)
		}},
		{"the order within groups is kept, also when a message in flight holds its group back", func(w *world) {
			dlq := w.queue("dlq.fifo")
			url := w.fifo(redriveTo("dlq.fifo", 1))
			w.dead("q.fifo", "m1@a", "m1@b", "m2@a", "m2@b", "m3@b")
			held := w.receive(dlq, 1)
			w.are(held, "m1@a")
			w.move("dlq.fifo", perSecond(1))
			w.sleep(10 * time.Second)
			w.task("dlq.fifo", "COMPLETED 3 4")
			w.gets(url, "m1@b", "m2@b", "m3@b")
			w.hide(dlq, held[0], 0)
			w.move("dlq.fifo")
			w.gets(url, "m1@a", "m2@a")
		}},
		{"what comes later waits for the next task", func(w *world) {
			dlq := w.queue("dlq")
			w.queue("elsewhere")
			w.standard(redriveTo("dlq", 1))
			w.dead("q", "m1", "m2")
			w.move("dlq", perSecond(1), to("elsewhere"))
			w.send(dlq, "m3")
			w.sleep(time.Minute)
			if task := w.task("dlq", "COMPLETED 2 2"); *task.DestinationArn != arnPrefix+"elsewhere" {
				w.Errorf("got %+v", task)
			}
			w.holds("dlq", 1, 0, 0)
			w.holds("elsewhere", 2, 0, 0)
		}},
		{"a task fails when its destination is deleted", func(w *world) {
			w.queue("dlq")
			elsewhere := w.queue("elsewhere")
			w.standard(redriveTo("dlq", 1))
			w.dead("q", "m1", "m2", "m3")
			w.move("dlq", perSecond(1), to("elsewhere"))
			w.deleteQueue(elsewhere)
			w.sleep(2 * time.Second)
			if task := w.task("dlq", "FAILED 1 3"); *task.FailureReason != "AWS.SimpleQueueService.NonExistentQueue" {
				w.Errorf("reason is %s", *task.FailureReason)
			}
			w.holds("dlq", 2, 0, 0)
		}},
		{"a task fails at a message whose source is not known", func(w *world) {
			dlq := w.queue("dlq")
			w.standard(redriveTo("dlq", 1))
			w.send(dlq, "m")
			w.move("dlq")
			if task := w.task("dlq", "FAILED 0 1"); *task.FailureReason != "CouldNotDetermineMessageSource" {
				w.Errorf("reason is %s", *task.FailureReason)
			}
		}},
		{"a deleted source ends its task", func(w *world) {
			dlq := w.queue("dlq")
			w.standard(redriveTo("dlq", 1))
			w.dead("q", "m1", "m2")
			w.move("dlq", perSecond(1))
			w.deleteQueue(dlq)
			w.sleep(time.Minute)
			w.holds("q", 1, 0, 0)
		}},
		{"a purge leaves nothing to move", func(w *world) {
			dlq := w.queue("dlq")
			w.standard(redriveTo("dlq", 1))
			w.dead("q", "m1", "m2")
			w.move("dlq", perSecond(1))
			_, err := w.sqs.PurgeQueue(w.Context(), &sqs.PurgeQueueInput{QueueUrl: &dlq})
			w.must(err)
			w.sleep(2 * time.Second)
			w.task("dlq", "COMPLETED 1 2")
		}},
		{"the destination's delay counts", func(w *world) {
			w.queue("dlq.fifo")
			url := w.fifo(redriveTo("dlq.fifo", 1))
			w.dead("q.fifo", "m@g")
			w.set(url, attrs{"DelaySeconds": "5"})
			w.move("dlq.fifo")
			w.holds("q.fifo", 0, 0, 1)
			w.took(5*time.Second, func() { w.are(w.receive(url, 1, waiting(20)), "m@g") })
		}},
		{"a queue that is its own dead-letter queue is moved once", func(w *world) {
			url := w.fifo(redriveTo("q.fifo", 1))
			w.send(url, "m@g")
			w.hide(url, w.gets(url, "m@g")[0], 0)
			w.gets(url)
			w.move("q.fifo")
			w.task("q.fifo", "COMPLETED 1 1")
			w.gets(url, "m@g")
		}},
		{"ten tasks are remembered", func(w *world) {
			w.queue("dlq")
			w.standard(redriveTo("dlq", 1))
			for range 12 {
				w.move("dlq")
			}
			if got := len(w.moves("dlq", 10)); got != 10 {
				w.Errorf("%d tasks are listed, want 10", got)
			}
		}},
		{"closing the engine ends a task", func(w *world) {
			w.queue("dlq")
			w.standard(redriveTo("dlq", 1))
			w.dead("q", "m1", "m2")
			w.move("dlq", perSecond(1))
			w.must(w.engine.Close())
			w.sleep(time.Minute)
			w.task("dlq", "FAILED 1 2")
		}},
		{"the Query protocol", func(w *world) {
			w.queue("dlq")
			w.standard(redriveTo("dlq", 1))
			w.dead("q", "m1", "m2")
			a := w.form("/", "Action", "StartMessageMoveTask", "SourceArn", arnPrefix+"dlq", "MaxNumberOfMessagesPerSecond", "1")
			w.is(a, 200, "", "<StartMessageMoveTaskResult><TaskHandle>")
			_, rest, _ := strings.Cut(a.body, "<TaskHandle>")
			handle, _, _ := strings.Cut(rest, "<")
			w.is(w.form("/", "Action", "ListMessageMoveTasks", "SourceArn", arnPrefix+"dlq"), 200, "",
				"<ListMessageMoveTasksResultEntry><TaskHandle>"+handle+"</TaskHandle><Status>RUNNING</Status>")
			w.is(w.form("/", "Action", "CancelMessageMoveTask", "TaskHandle", handle), 200, "",
				"<ApproximateNumberOfMessagesMoved>1</ApproximateNumberOfMessagesMoved>")
			w.is(w.form("/", "Action", "StartMessageMoveTask", "SourceArn", arnPrefix+"x"), 404, "", "<Code>ResourceNotFoundException</Code>")
		}},
	})
}

func TestMove_FollowsAClockThatIsMovedByHand(t *testing.T) {
	t.Parallel()
	w := newTimed(t)
	w.queue("dlq.fifo")
	url := w.fifo(redriveTo("dlq.fifo", 1))
	w.dead("q.fifo", "m1@g", "m2@g", "m3@g")
	w.move("dlq.fifo", perSecond(2))
	w.clock.Advance(500 * time.Millisecond)
	w.task("dlq.fifo", "RUNNING 2 3")
	w.clock.Advance(time.Hour)
	w.task("dlq.fifo", "COMPLETED 3 3")
	w.gets(url, "m1@g", "m2@g", "m3@g")
}
