package producer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// inSlot is newProducer of NewInSlot.
func inSlot(t *testing.T, topic TopicAPI, folder string, slots int) *Producer {
	t.Helper()
	p, err := NewInSlot(topic, testTopic, Config{Spool: folder}, slots)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// abandon leaves a spool as a process does that is killed: with its events, and with its lock free.
func abandon(t *testing.T, p *Producer) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Close(ended); err != nil {
		t.Fatal(err)
	}
}

// TestSlots_ArePickedOnce: the first free one, one with events before an empty one, and never one that is taken.
func TestSlots_ArePickedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		topic, folder := downTopic(&down), t.TempDir()
		a, b := inSlot(t, topic, folder, 3), inSlot(t, topic, folder, 3)
		for i, p := range []*Producer{a, b} {
			if want := filepath.Join(folder, fmt.Sprint(i)); p.cfg.Spool != want {
				t.Errorf("got %s, want %s", p.cfg.Spool, want)
			}
		}
		if err := b.Publish(t.Context(), motion("d1", "e1")); err != nil {
			t.Fatal(err)
		}
		abandon(t, a)
		abandon(t, b)
		c := inSlot(t, topic, folder, 3)
		if want := filepath.Join(folder, "1"); c.cfg.Spool != want {
			t.Errorf("got %s, want %s, where events wait", c.cfg.Spool, want)
		}
		d, e := inSlot(t, topic, folder, 3), inSlot(t, topic, folder, 3)
		var failed *SpoolError
		if _, err := NewInSlot(topic, testTopic, Config{Spool: folder}, 3); !errors.Is(err, ErrSpoolLocked) || !errors.As(err, &failed) || failed.Dir != folder {
			t.Errorf("a fourth: got %v, want ErrSpoolLocked", err)
		}
		down.Store(false)
		mustClose(t, c)
		mustClose(t, d)
		mustClose(t, e)
		if _, _, accepted := topic.snapshot(); !slices.Equal(accepted["d1"], []string{"e1"}) {
			t.Errorf("the topic has %v, want e1", accepted)
		}
		for _, bad := range []struct {
			folder string
			slots  int
		}{{"", 1}, {folder, 0}, {folder, -1}} {
			if _, err := NewInSlot(topic, testTopic, Config{Spool: bad.folder}, bad.slots); err == nil {
				t.Errorf("%d slots of %q: got no error", bad.slots, bad.folder)
			}
		}
	})
}

// TestSlots_WhatTheDeadHaveLeftGoesOut, in the order of each device: of slots in and beyond the number that there are now, and of the folder
// itself. What a living one has in its slot nobody else sends. While the topic is away everything stays.
func TestSlots_WhatTheDeadHaveLeftGoesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		topic, folder := downTopic(&down), t.TempDir()
		dead := []*Producer{newProducer(t, topic, Config{Spool: folder})}
		for range 4 {
			dead = append(dead, inSlot(t, topic, folder, 4))
		}
		alive := dead[2] // in slot 1
		want := map[string][]string{}
		for i := range 20 {
			for d, p := range dead {
				device, id := fmt.Sprint("d", d), fmt.Sprintf("d%d-%02d", d, i)
				if err := p.Publish(t.Context(), motion(device, id)); err != nil {
					t.Fatal(err)
				}
				want[device] = append(want[device], id)
			}
		}
		for _, p := range dead {
			if p != alive {
				abandon(t, p)
			}
		}
		survivor := inSlot(t, topic, folder, 2)
		if want := filepath.Join(folder, "0"); survivor.cfg.Spool != want {
			t.Errorf("got %s, want %s", survivor.cfg.Spool, want)
		}
		begin := time.Now()
		if err := survivor.EmptySlots(t.Context()); err != nil {
			t.Errorf("while the topic is away: %v, want none: nothing is lost", err)
		}
		if took := time.Since(begin); took != 3*slotPatience {
			t.Errorf("it stayed for %v, want %v with each of three", took, slotPatience)
		}
		if _, _, accepted := topic.snapshot(); len(accepted) != 0 {
			t.Errorf("the topic has %v, want nothing", accepted)
		}
		down.Store(false)
		if err := survivor.EmptySlots(t.Context()); err != nil {
			t.Error(err)
		}
		mustClose(t, survivor)
		mustClose(t, alive)
		topic.noFaults(t)
		_, _, accepted := topic.snapshot()
		for device, ids := range want {
			if !slices.Equal(accepted[device], ids) {
				t.Errorf("device %s: the topic has %v, want %v", device, accepted[device], ids)
			}
		}
		if logs, _ := filepath.Glob(filepath.Join(folder, "*", "*.log")); len(logs) > 0 {
			t.Errorf("%q are left, want nothing to wait anywhere", logs)
		}
	})
}

// TestSlots_TwoEmptyThemAtOnce: each event goes out, and in its device's order.
func TestSlots_TwoEmptyThemAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		topic, folder := downTopic(&down), t.TempDir()
		var all []*Producer
		for range 6 {
			all = append(all, inSlot(t, topic, folder, 6))
		}
		var want []string
		for i := range 30 {
			id := fmt.Sprintf("e%02d", i)
			if err := all[i/10].Publish(t.Context(), motion(fmt.Sprint("d", i/10), id)); err != nil {
				t.Fatal(err)
			}
			want = append(want, id)
		}
		for _, p := range all[:3] {
			abandon(t, p)
		}
		down.Store(false)
		done := make(chan error, 3)
		for _, p := range all[3:] {
			go func() { done <- p.EmptySlots(t.Context()) }()
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		var got []string
		_, _, accepted := topic.snapshot()
		for d := range 3 {
			got = append(got, accepted[fmt.Sprint("d", d)]...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the topic has %v, want each once and in order", got)
		}
		for _, p := range all[3:] {
			mustClose(t, p)
		}
	})
}

func TestSlots_SayWhatIsWrong(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	p := inSlot(t, &fakeTopic{}, folder, 1)
	defer mustClose(t, p)
	if err := os.MkdirAll(filepath.Join(folder, "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "1", "notes.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var failed *SpoolError
	if err := p.EmptySlots(t.Context()); !errors.As(err, &failed) || failed.Dir != filepath.Join(folder, "1") {
		t.Errorf("got %v, want a SpoolError that names the slot", err)
	}
}
