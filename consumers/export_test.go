package consumers

import "time"

func init() {
	random = func(below time.Duration) time.Duration { return below / 3 }
	strict = true
}
