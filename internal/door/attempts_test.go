package door

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/internal/logtest"
)

func TestAttempts_SlowsAnAddressDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Log
		a := &Attempts{Logger: log.Logger(), Server: "test"}
		from := func(address string) bool {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = address
			if a.Refuse(httptest.NewRecorder(), r) {
				return false
			}
			a.Failed(r)
			return true
		}
		tried := 0
		for range 1000 {
			if from("192.0.2.1:99") {
				tried++
			}
		}
		if tried != attemptsAtOnce {
			t.Errorf("%d of 1000 attempts at once were looked at, want %d", tried, attemptsAtOnce)
		}
		if !from("192.0.2.2:99") {
			t.Error("another address is refused too")
		}
		if got := log.Count("login refused"); got != 1 {
			t.Errorf("%d lines of log, want one", got)
		}
		time.Sleep(3 * attemptEvery)
		for tried = 0; from("192.0.2.1:98"); tried++ {
		}
		if tried != 3 {
			t.Errorf("%d attempts after three seconds, want 3", tried)
		}
		time.Sleep(time.Hour)
		for n := range 3 * attemptAddresses {
			from(fmt.Sprintf("10.%d.%d.%d:1", n>>16, n>>8&255, n&255))
		}
		if len(a.from) > attemptAddresses {
			t.Errorf("%d addresses are remembered, want at most %d", len(a.from), attemptAddresses)
		}
	})
}

// A wrong key that can't be guessed is answered late, and only so many hold a connection for it.
func TestAttempts_AnswersLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &Attempts{}
		r := httptest.NewRequest("GET", "/", nil)
		begin := time.Now()
		for range attemptsAtOnce {
			a.Failed(r)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the first %d took %v", attemptsAtOnce, took)
		}
		late := make(chan struct{}, 100)
		for range 100 {
			go func() {
				a.Failed(r)
				late <- struct{}{}
			}()
		}
		synctest.Wait()
		if got, want := len(late), 100-slowedAtOnce; got != want {
			t.Errorf("%d of 100 are answered at once, want %d", got, want)
		}
		time.Sleep(attemptEvery)
		synctest.Wait()
		if len(late) != 100 {
			t.Errorf("%d of 100 are answered a second later", len(late))
		}
	})
}
