package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/device-fanout/fanout/events"
)

// Key is what one API key may do. It does not hold the secret, only its hash.
type Key struct {
	// Name tells keys apart: in the key itself, in logs and in the file. It is no secret.
	Name string
	// Devices are the devices that the key may speak for: whole IDs, or beginnings that end with *. None means all.
	Devices []string
	// Source is the CloudEvents source that the key speaks for: that of events that name none, and the only one that others may
	// name. Empty means any, and the producer's for events that name none.
	Source string
	// Limit is the key's own limit; where it is zero, Config.Limit counts.
	Limit Limit

	hash [sha256.Size]byte // of the secret
}

// MayUse tells whether the key may speak for a device.
func (k *Key) MayUse(device string) bool {
	if len(k.Devices) == 0 {
		return true
	}
	for _, allowed := range k.Devices {
		if prefix, open := strings.CutSuffix(allowed, "*"); allowed == device || open && strings.HasPrefix(device, prefix) {
			return true
		}
	}
	return false
}

// Keys are the API keys that a Gateway knows. It is safe for concurrent use.
type Keys struct {
	anyone   bool // let everyone in
	from     keySource
	byName   atomic.Pointer[map[string]Key] // nil for Anyone
	failures atomic.Int64                   // reloads that failed

	reloading sync.Mutex // guards what follows
	text      []byte     // as it was when it could last be read
	missing   bool       // it can't be read
}

// keySource is where keys are kept.
type keySource struct {
	name     string // in errors
	read     func(context.Context) ([]byte, error)
	every    time.Duration // how often to look for changes
	unusable string        // what the log says of a change for the worse
}

// Anyone lets everyone in as the key named "anyone". It is for a gateway that only this machine can reach.
func Anyone() *Keys { return &Keys{anyone: true} }

// LoadKeys reads a file of keys:
//
//	{"keys": [{"name": "hall", "sha256": "…", "devices": ["hall-*"], "per_second": 100, "per_device_per_second": 5}]}
//
// name and sha256 are required; [NewKey] makes them. There may also be source, burst and per_device_burst. An error lists everything
// that is wrong in the file.
func LoadKeys(path string) (*Keys, error) {
	if path == "" { // os.ReadFile would say it less plainly
		return nil, errors.New("gateway: keys: got no path, want that of a file of keys")
	}
	return loadKeys(context.Background(), keySource{
		name: path, every: 2 * time.Second, unusable: "the changed file of keys cannot be used; the keys stay as they were",
		read: func(context.Context) ([]byte, error) {
			text, err := os.ReadFile(path)
			return text, withoutPath(err)
		},
	})
}

func loadKeys(ctx context.Context, from keySource) (*Keys, error) {
	k := &Keys{from: from}
	if _, err := k.reload(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// Reload reads the file, or the secret, again, and tells whether it has changed. When it cannot be used, the keys stay as they were, and the
// error says why.
func (k *Keys) Reload() (changed bool, err error) { return k.reload(context.Background()) }

func (k *Keys) reload(ctx context.Context) (changed bool, err error) {
	if k.anyone {
		return false, nil
	}
	k.reloading.Lock()
	defer k.reloading.Unlock()
	text, err := k.from.read(ctx)
	if err != nil {
		if !k.missing { // one failure, however often it is read
			k.failures.Add(1)
		}
		k.missing = true
		return false, fmt.Errorf("gateway: keys: %s: %w", k.from.name, err)
	}
	k.missing = false
	if k.text != nil && bytes.Equal(text, k.text) {
		return false, nil
	}
	k.text = append([]byte{}, text...)
	byName, err := parseKeys(text)
	if err != nil {
		k.failures.Add(1)
		return false, fmt.Errorf("gateway: keys: %s: %w", k.from.name, err)
	}
	k.byName.Store(&byName)
	return true, nil
}

// withoutPath drops the path of a file error, for a text that names it already.
func withoutPath(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return file.Err
	}
	return err
}

// Watch reloads the keys when their file, or secret, changes, until ctx ends. It reads at this interval; zero means every 2 seconds, and a secret
// every minute. What is wrong in it is logged once, and the keys stay as they were.
func (k *Keys) Watch(ctx context.Context, every time.Duration, logger *slog.Logger) {
	if k.anyone {
		return
	}
	if every <= 0 {
		every = k.from.every
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		changed, err := k.reload(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			last = ""
		case err.Error() != last:
			last = err.Error()
			logger.Error(k.from.unusable, "err", err)
		}
		if changed {
			level := slog.LevelInfo
			if k.Len() == 0 { // nobody is let in any more, which is seldom meant
				level = slog.LevelWarn
			}
			logger.Log(ctx, level, "keys reloaded", "keys", k.Len())
		}
	}
}

// Len is the number of keys.
func (k *Keys) Len() int {
	if all := k.byName.Load(); all != nil {
		return len(*all)
	}
	return 0
}

// Check returns the key that the text NAME.SECRET belongs to. Its time does not depend on how much of the secret is right.
func (k *Keys) Check(text string) (Key, bool) {
	if k.anyone {
		return Key{Name: "anyone"}, true
	}
	name, secret, _ := strings.Cut(text, ".")
	key, known := (*k.byName.Load())[name]
	hash := sha256.Sum256([]byte(secret))
	same := subtle.ConstantTimeCompare(hash[:], key.hash[:]) == 1 // also for an unknown name
	if !known || !same {
		return Key{}, false
	}
	return key, true
}

// renew returns a key that was shown a while ago as the file has it now. It is false when it was taken away meanwhile.
func (k *Keys) renew(key Key) (Key, bool) {
	if k.anyone {
		return key, true
	}
	now, known := (*k.byName.Load())[key.Name]
	return now, known && now.hash == key.hash
}

// NewKey makes a key with a new random secret: the text for the client, which is written down nowhere else, and the entry for the
// file of keys.
func NewKey(name string) (text string, entry []byte, err error) {
	if !legalKeyName.MatchString(name) {
		return "", nil, fmt.Errorf("gateway: key name: got %q, want %s", name, wantKeyName)
	}
	random := make([]byte, sha256.Size)
	rand.Read(random)
	secret := base64.RawURLEncoding.EncodeToString(random)
	hash := sha256.Sum256([]byte(secret))
	entry, err = json.Marshal(keyEntry{Name: name, SHA256: hex.EncodeToString(hash[:])})
	return name + "." + secret, entry, err
}

const wantKeyName = "1 to 64 letters, digits, - or _"

var legalKeyName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// keyEntry is a key in the file.
type keyEntry struct {
	Name               string   `json:"name"`
	SHA256             string   `json:"sha256"`
	Devices            []string `json:"devices,omitempty"`
	Source             string   `json:"source,omitempty"`
	PerSecond          float64  `json:"per_second,omitempty"`
	Burst              int      `json:"burst,omitempty"`
	PerDevicePerSecond float64  `json:"per_device_per_second,omitempty"`
	PerDeviceBurst     int      `json:"per_device_burst,omitempty"`
}

// parseKeys reads the file's text. The error lists every fault with the key that has it.
func parseKeys(text []byte) (map[string]Key, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var file struct {
		Keys []keyEntry `json:"keys"`
	}
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf(`near line %d: %w; want {"keys": [{"name": …, "sha256": …}]}`, 1+bytes.Count(text[:min(decoder.InputOffset(), int64(len(text)))], []byte("\n")), err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the first JSON value, want nothing")
	}
	if file.Keys == nil { // such as a secret whose text was cleared: that nobody is to be let in is said by an empty list
		return nil, errors.New(`there is no list of keys, want {"keys": [{"name": …, "sha256": …}]}, or {"keys": []} for none`)
	}
	var faults []error
	byName := map[string]Key{}
	for i, entry := range file.Keys {
		fault := func(format string, args ...any) {
			name, _, _ := strings.Cut(entry.Name, ".") // who has mixed up the two has a key there, with its secret
			faults = append(faults, fmt.Errorf("key %d (%q): %s", i+1, name, fmt.Sprintf(format, args...)))
		}
		key := Key{Name: entry.Name, Devices: entry.Devices, Source: entry.Source}
		if !legalSource(entry.Source) {
			fault("source: got %q, want a URI reference, as CloudEvents has it", entry.Source)
		}
		if !legalKeyName.MatchString(entry.Name) {
			fault("name: want %s", wantKeyName)
		}
		if _, twice := byName[entry.Name]; twice {
			fault("name: there is a key of that name already")
		}
		// The text is not shown: who has mixed up the two would find the secret in the log.
		if hash, err := hex.DecodeString(entry.SHA256); err != nil || len(hash) != sha256.Size {
			fault("sha256: want the 64 hexadecimal digits of a SHA-256 hash")
		} else {
			key.hash = [sha256.Size]byte(hash)
		}
		for _, device := range entry.Devices {
			if device == "" || strings.Contains(strings.TrimSuffix(device, "*"), "*") {
				fault("devices: got %q, want a device ID, or a beginning with * at its end", device)
			}
		}
		limit := Limit{entry.PerSecond, entry.Burst, entry.PerDevicePerSecond, entry.PerDeviceBurst}
		if err := limit.validate(); err != nil {
			fault("limit: %v", err)
		}
		key.Limit = limit
		byName[entry.Name] = key
	}
	return byName, errors.Join(faults...)
}

// legalSource tells whether events may name a source; none is legal too.
func legalSource(source string) bool {
	return source == "" || events.ValidateSource(source) == nil
}

// or fills in what l leaves open from other.
func (l Limit) or(other Limit) Limit {
	if l.PerSecond == 0 {
		l.PerSecond, l.Burst = other.PerSecond, other.Burst
	}
	if l.PerDevicePerSecond == 0 {
		l.PerDevicePerSecond, l.PerDeviceBurst = other.PerDevicePerSecond, other.PerDeviceBurst
	}
	return l.withDefaults()
}
