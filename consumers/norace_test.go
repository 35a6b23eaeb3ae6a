//go:build !race

package consumers_test

// underRace tells whether the race detector is on, which makes a test ten times as slow.
const underRace = false
