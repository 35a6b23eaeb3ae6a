//go:build !unix

package door

// descriptors is how many files and connections this process may have open: there is no such limit here.
func descriptors() int { return maxConnections * 2 }
