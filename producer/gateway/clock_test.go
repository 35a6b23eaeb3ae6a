package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/producer/gateway"
)

// at is an event of a device at a time.
func at(device, id string, t time.Time) string {
	return strings.Replace(power(device, id), "2026-01-31T12:00:00Z", t.UTC().Format(time.RFC3339), 1)
}

// TestMaxFuture_RefusesAClockThatIsWrong in one event, in a line of a stream and in a message, with the field and its value. What is
// accepted can't hide what a device says later.
func TestMaxFuture_RefusesAClockThatIsWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			max         time.Duration
			ahead       time.Duration
			now         string
			taken       bool
			wantInWords string
		}{
			{0, 23 * time.Hour, "2027-06-01T12:00:00Z", true, ""},
			{0, 25 * time.Hour, "2027-06-01T12:00:00Z", false, `got "2027-06-02T13:00:00Z", want a time at most 24h0m0s ahead`},
			{time.Minute, time.Hour, "2027-06-02T12:00:00Z", false, `got "2027-06-02T13:00:00Z", want a time at most 1m0s ahead`},
			{-1, 72 * 365 * 24 * time.Hour, "2027-06-03T12:00:00Z", true, ""},
		} {
			now, err := time.Parse(time.RFC3339, c.now)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(now))
			w := newFakeWorld(t, confirming, gateway.Config{MaxFuture: c.max})
			text := at("lamp-1", "e1", now.Add(c.ahead))
			answers := []gateway.Problem{{Status: http.StatusAccepted}, w.post(t, "application/x-ndjson", text+"\n").lines(t)[1].Problem}
			if a := w.post(t, oneEvent, text); a.status != http.StatusAccepted {
				answers[0] = a.wantProblem(t, http.StatusUnprocessableEntity, "invalid-event")
			}
			for i, p := range answers {
				if c.taken {
					if p.Status != http.StatusAccepted {
						t.Errorf("%v ahead, at most %v, answer %d: %+v, want it accepted", c.ahead, c.max, i, p)
					}
				} else if len(p.Errors) != 1 || p.Errors[0] != (gateway.BadMember{Pointer: "/time", Detail: c.wantInWords}) || p.EventID != "" {
					t.Errorf("%v ahead, at most %v, answer %d: %+v, want the time refused: %s", c.ahead, c.max, i, p, c.wantInWords)
				}
			}
			w.stop()
		}
	})
}

// TestMaxFuture_NotByAClockThatIsNotSet: a host that has not yet heard what time it is takes everything.
func TestMaxFuture_NotByAClockThatIsNotSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in the year 2000
		w := newFakeWorld(t, confirming, gateway.Config{})
		if a := w.post(t, oneEvent, power("lamp-1", "e1")); a.status != http.StatusAccepted {
			t.Errorf("got %d %s", a.status, a.body)
		}
		w.stop()
	})
}

// TestMaxFuture_OverMQTT: such a message is acknowledged, and the others of the device go on.
func TestMaxFuture_OverMQTT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Config{})
	_, url := startBroker(t)
	stop := w.subscribe(t, url)
	client := connect(t, url, "device")
	for _, id := range []string{"far", "e1"} {
		when := time.Now()
		if id == "far" {
			when = when.Add(25 * time.Hour)
		}
		if token := client.Publish("devices/lamp-1/events", 1, false, at("lamp-1", id, when)); !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	var ids []string
	eventually(t, "the event behind the one that is refused", func() bool {
		ids = append(ids, byDevice(w.delivered(t))["lamp-1"]...)
		return len(ids) > 0
	})
	if fmt.Sprint(ids) != "[e1]" {
		t.Errorf("delivered: %v, want e1", ids)
	}
	stop()
	w.stop()
}
