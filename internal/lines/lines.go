// Package lines reads lines of bounded length.
package lines

import (
	"bufio"
	"bytes"
	"errors"
)

// Read appends the next line of in to buf, without its end. Of a line longer than most bytes the rest is skipped, and tooLong is true.
// The error is io.EOF at the end of the input; there may be a last line with it.
func Read(in *bufio.Reader, buf []byte, most int) (line []byte, tooLong bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(buf)+len(part) > most+len("\r\n") {
			tooLong, buf = true, buf[:0]
		}
		if !tooLong {
			buf = append(buf, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		line = bytes.TrimRight(buf, "\r\n")
		return line, tooLong || len(line) > most, err
	}
}
