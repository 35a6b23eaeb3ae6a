// Package identitytest draws identities of sources and devices that number their events alike.
package identitytest

import (
	"fmt"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
)

// Draw returns up to 20 identities of two sources, three devices and three IDs, so that each part comes with different others, and many
// come twice. The devices are those of that round: the rounds of one test share a database.
func Draw(r *rapid.T, round int) []events.Identity {
	all := make([]events.Identity, rapid.IntRange(1, 20).Draw(r, "events"))
	for i := range all {
		all[i] = events.Identity{
			Source:  fmt.Sprintf("/gateways/%d", rapid.IntRange(1, 2).Draw(r, "source")),
			Subject: fmt.Sprintf("round-%d/device-%d", round, rapid.IntRange(1, 3).Draw(r, "device")),
			ID:      fmt.Sprint(rapid.IntRange(1, 3).Draw(r, "ID")),
		}
	}
	return all
}
