package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"

	"github.com/gofrs/flock"

	"github.com/device-fanout/fanout/internal/files"
)

// AddKey makes a key as [NewKey] does and adds it to the file at path, which is made, for its owner alone, if it is not there. A gateway
// that watches the file then knows it. It returns the text for the client.
//
// The file is replaced in one step; its owner, group and mode stay, and if path is a symbolic link, the file that it leads to is the one
// that is replaced. Several processes may add keys at once: one waits for the other, by a lock on the file .lock beside it. A name that is in
// the file already is an error, and so is a file that can't be read as keys: it stays as it was.
func AddKey(path, name string) (text string, err error) {
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("gateway: keys: %s: %w", path, withoutPath(err))
	}
	if path == "" {
		return "", errors.New("gateway: keys: got no path, want that of a file of keys")
	}
	target, err := files.Target(path)
	if err != nil {
		return fail(err)
	}
	text, entry, err := NewKey(name)
	if err != nil {
		return "", err
	}
	lock := flock.New(target + ".lock")
	if err := lock.Lock(); err != nil {
		return fail(fmt.Errorf("lock %s: %w", lock.Path(), withoutPath(err)))
	}
	defer lock.Close() //nolint:errcheck // what counts is in the file
	before, err := os.ReadFile(target)
	if errors.Is(err, fs.ErrNotExist) {
		before, err = []byte(`{"keys":[]}`), nil
	}
	if err != nil {
		return fail(err)
	}
	after, err := withKey(before, name, entry)
	if err != nil {
		return fail(err)
	}
	if err := files.Replace(target, after, 0o600); err != nil {
		return fail(err)
	}
	return text, nil
}

// withKey is the text of a file of keys with one entry more. The other entries stay as they are, whatever is in them.
func withKey(before []byte, name string, entry json.RawMessage) (after []byte, err error) {
	known, err := parseKeys(before)
	if err != nil {
		return nil, err
	}
	if _, twice := known[name]; twice {
		return nil, fmt.Errorf("there is a key named %q already", name)
	}
	var file struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(before, &file); err != nil {
		return nil, err
	}
	file.Keys = append(file.Keys, entry)
	if after, err = json.MarshalIndent(file, "", "  "); err != nil {
		return nil, err
	}
	all, err := parseKeys(after)
	if delete(all, name); err != nil || !reflect.DeepEqual(all, known) {
		return nil, errors.New("adding a key would change others, as where something is in the file twice; nothing was changed")
	}
	return append(after, '\n'), nil
}
