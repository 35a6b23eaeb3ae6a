package gateway

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits counts the streams of every key, and holds a token bucket for every key, and for every device of a key that was heard of lately.
type limits struct {
	mu      sync.Mutex
	keys    map[string]*rate.Limiter
	devices map[keyedDevice]*rate.Limiter
	streams map[string]int // open ones, by key
	sweepAt int            // number of devices at which full buckets are thrown away
}

type keyedDevice struct{ key, device string }

// minSweep is the fewest devices for which sweeping is worth its while.
const minSweep = 1024

func newLimits() *limits {
	return &limits{keys: map[string]*rate.Limiter{}, devices: map[keyedDevice]*rate.Limiter{}, streams: map[string]int{}, sweepAt: minSweep}
}

// ofKey is the bucket of a key, or nil when it has no limit.
func (l *limits) ofKey(key string, limit Limit) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bucketOf(l.keys, key, limit.PerSecond, limit.Burst)
}

// ofDevice is the bucket of a device of a key, or nil when it has no limit.
func (l *limits) ofDevice(key, device string, limit Limit) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.devices) >= l.sweepAt {
		l.sweep()
	}
	return bucketOf(l.devices, keyedDevice{key, device}, limit.PerDevicePerSecond, limit.PerDeviceBurst)
}

// openStream counts a stream of a key, unless the key has that many. closeStream ends it.
func (l *limits) openStream(key string, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[key] >= most {
		return false
	}
	l.streams[key]++
	return true
}

func (l *limits) closeStream(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[key]--; l.streams[key] == 0 {
		delete(l.streams, key)
	}
}

// bucketOf is the bucket of an ID, which follows a limit that has changed with the file of keys. It is nil without a limit.
func bucketOf[ID comparable](buckets map[ID]*rate.Limiter, id ID, perSecond float64, burst int) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	bucket := buckets[id]
	if bucket == nil {
		bucket = rate.NewLimiter(rate.Limit(perSecond), burst)
		buckets[id] = bucket
	}
	if bucket.Limit() != rate.Limit(perSecond) {
		bucket.SetLimit(rate.Limit(perSecond))
	}
	if bucket.Burst() != burst {
		bucket.SetBurst(burst)
	}
	return bucket
}

// sweep forgets devices whose bucket is full again: a new one would be the same. The caller holds mu.
func (l *limits) sweep() {
	now := time.Now()
	for id, bucket := range l.devices {
		if bucket.TokensAt(now) >= float64(bucket.Burst()) {
			delete(l.devices, id)
		}
	}
	l.sweepAt = max(minSweep, 2*len(l.devices))
}

// take takes one token, or tells how long to wait for the next without taking one. A nil bucket has tokens always.
func take(bucket *rate.Limiter) (wait time.Duration) {
	if bucket == nil {
		return 0
	}
	r := bucket.Reserve()
	if wait = r.Delay(); wait > 0 {
		r.Cancel()
	}
	return wait
}

// reserve takes the next token, and tells how long to wait until it is there. A nil bucket has tokens always.
func reserve(bucket *rate.Limiter) (wait time.Duration) {
	if bucket == nil {
		return 0
	}
	return bucket.Reserve().Delay()
}

// seconds rounds up to whole seconds, at least 1, as Retry-After wants them.
func seconds(d time.Duration) int {
	return max(1, int(math.Ceil(d.Seconds())))
}
