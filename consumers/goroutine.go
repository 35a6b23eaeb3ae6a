package consumers

import (
	"bytes"
	"runtime"
	"strconv"
)

// goroutineID is the number of the calling goroutine, as stack traces show it; zero if it can't be read.
func goroutineID() uint64 {
	var buf [40]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	end := bytes.IndexByte(text, ' ')
	if end < 0 {
		return 0
	}
	id, _ := strconv.ParseUint(string(text[:end]), 10, 64)
	return id
}

// maxStacks bounds, in bytes, how many goroutines are looked through for one; maxStack bounds what is shown of it.
const (
	maxStacks = 16 << 20
	maxStack  = 4 << 10
)

// stackOf is the stack of another goroutine. The program stands still meanwhile, so it is for rare use.
func stackOf(id uint64) string {
	size := 64 << 10
	for {
		buf := make([]byte, size)
		n := runtime.Stack(buf, true)
		if n == size && size < maxStacks {
			size *= 4
			continue
		}
		head := []byte("goroutine " + strconv.FormatUint(id, 10) + " ")
		for text := range bytes.SplitSeq(buf[:n], []byte("\n\n")) {
			if bytes.HasPrefix(text, head) {
				return string(text[:min(len(text), maxStack)])
			}
		}
		return ""
	}
}
