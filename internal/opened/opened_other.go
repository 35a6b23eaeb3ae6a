//go:build !linux

package opened

import "os"

func sameFile(path string, opened os.FileInfo) (bool, error) { return byStat(path, opened) }
