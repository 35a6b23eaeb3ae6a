//go:build unix

package door

import "syscall"

// descriptors is how many files and connections this process may have open.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > maxConnections*2 {
		return maxConnections * 2
	}
	return int(limit.Cur)
}
