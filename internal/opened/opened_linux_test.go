package opened

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// otherVolume is a file of the same number on another volume.
type otherVolume struct{ os.FileInfo }

func (o otherVolume) Sys() any {
	stat := *o.FileInfo.Sys().(*syscall.Stat_t)
	stat.Dev++
	return &stat
}

// noSys is a file whose file system tells no number.
type noSys struct{ os.FileInfo }

func (noSys) Sys() any { return nil }

// Numbers of files are those of their volume: the first file of two new ones mostly has the same.
func TestSame_TellsVolumesApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	is, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Same(path, is); err != nil {
		t.Errorf("the file itself: %v", err)
	}
	for name, other := range map[string]os.FileInfo{"another volume": otherVolume{is}, "unknown": noSys{is}} {
		if err := Same(path, other); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want that it is not there", name, err)
		}
	}
	if err := Same(path+"x", is); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}
