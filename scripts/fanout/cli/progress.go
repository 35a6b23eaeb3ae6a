package cli

import (
	"fmt"
	"time"

	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows how far long work is: a bar on a terminal, a line now and then elsewhere.
type progress struct {
	g     *globals
	what  string
	total int
	n     int
	last  time.Time
	bars  *mpb.Progress
	bar   *mpb.Bar
}

// progress begins to show work of about total steps. It is not safe for concurrent use.
func (g *globals) progress(what string, total int) *progress {
	p := &progress{g: g, what: what, total: total, last: time.Now()}
	if terminal.NewScreen(g.err).Live() {
		p.bars = mpb.New(mpb.WithOutput(terminal.Under(g.err)), mpb.WithWidth(40))
		// A bar that begins with a total completes at that one only: it would be waited for without end where less is done.
		p.bar = p.bars.AddBar(0,
			mpb.PrependDecorators(decor.Name(what+" ", decor.WCSyncSpaceR), decor.CountersNoUnit("%d / %d")),
			mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.AverageSpeed(0, " %.0f/s"), decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 6})))
		p.bar.SetTotal(int64(total), false)
	}
	return p
}

// step counts one more.
func (p *progress) step() { p.set(p.n + 1) }

// set says how many are done.
func (p *progress) set(n int) {
	p.n = n
	p.total = max(p.total, n) // the plan could not see all
	if p.bar != nil {
		p.bar.SetTotal(int64(p.total), false)
		p.bar.SetCurrent(int64(n))
		return
	}
	if time.Since(p.last) >= lineEvery {
		p.last = time.Now()
		fmt.Fprintf(p.g.err, "%s: %d of about %d\n", p.what, n, p.total)
	}
}

// warn prints a line above the bar.
func (p *progress) warn(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if p.bars != nil {
		fmt.Fprintln(p.bars, terminal.Clean(line))
		return
	}
	fmt.Fprintln(p.g.err, line)
}

// done leaves the bar as it is.
func (p *progress) done() {
	if p.bar == nil {
		return
	}
	if p.n < p.total {
		p.bar.Abort(false) // it stays, not full
	} else {
		p.bar.SetTotal(int64(p.n), true)
	}
	p.bars.Wait()
}
