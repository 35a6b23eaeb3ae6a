package spool

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestSpool_AfterALossOfPower: what was appended and is not done with waits, whatever of the lists of done records had not reached the
// disk: their ends, and entries in the midst. What comes back beside it are the last records of its key that were done with: none
// comes back alone whose successor does not.
func TestSpool_AfterALossOfPower(t *testing.T) {
	t.Parallel()
	keys := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		opts := Options{SegmentBytes: int64(rapid.IntRange(1, 2000).Draw(rt, "segment")), SyncEvery: -1}
		s, _ := open(t, dir, opts)
		refs, all := map[string][]Ref{}, map[string][]int64{} // what is not done with, and the sequences of all
		safe := map[uint32]int64{}                            // bytes of the lists that are on disk
		sequence := int64(0)
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			key := rapid.SampledFrom(keys).Draw(rt, "key")
			if rapid.Bool().Draw(rt, "append") {
				sequence++
				refs[key] = append(refs[key], mustAppend(t, s, record(key, sequence))...)
				all[key] = append(all[key], sequence)
			} else if len(refs[key]) > 0 {
				s.Done(refs[key][0])
				refs[key] = refs[key][1:]
			}
			for _, seg := range s.segments {
				if !seg.unsynced {
					safe[seg.number] = seg.listed
				}
			}
		}
		lost, err := os.MkdirTemp("", "spool")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(lost)
		if err := os.CopyFS(lost, os.DirFS(dir)); err != nil {
			rt.Fatal(err)
		}
		mustClose(t, s)
		lists, _ := filepath.Glob(filepath.Join(lost, "*"+doneSuffix))
		for _, list := range lists {
			data, err := os.ReadFile(list)
			if err != nil {
				rt.Fatal(err)
			}
			number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(list), doneSuffix), 10, 32)
			if err != nil {
				rt.Fatal(err)
			}
			least := int(safe[uint32(number)])
			data = data[:rapid.IntRange(least, len(data)).Draw(rt, "end")]
			if rapid.Bool().Draw(rt, "hole") {
				clear(data[least:min(least+doneBytes, len(data))])
			}
			if err := os.WriteFile(list, data, 0o600); err != nil {
				rt.Fatal(err)
			}
		}
		s, state := open(t, lost, opts)
		defer mustClose(t, s)
		if len(state.Damaged) > 0 {
			rt.Fatalf("damage: %+v", state.Damaged)
		}
		found := map[string][]int64{}
		for _, w := range state.Waiting {
			found[w.Key] = w.Sequences
		}
		for _, key := range keys {
			got, want := found[key], len(refs[key])
			if len(got) < want || len(got) > len(all[key]) || !slices.Equal(got, all[key][len(all[key])-len(got):]) {
				rt.Fatalf("key %s: found %v, want the last of %v, at least %d", key, got, all[key], want)
			}
		}
	})
}
