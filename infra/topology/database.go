package topology

import (
	"fmt"
	"regexp"
)

// Database is a PostgreSQL database that is made for an environment, for the services whose Compute says Database. The zero value is none.
type Database struct {
	// Kind is Postgres or AuroraServerless. Empty means none.
	Kind DatabaseKind `json:"kind"`
	// Instance is the size of a Postgres instance, without the db. in front. Empty means t4g.micro, or t4g.medium in production.
	Instance string `json:"instance"`
	// StorageGiB is the disk of a Postgres instance, from 20 to 16384; it grows by itself up to four times that. Zero means 20.
	StorageGiB int `json:"storage_gib"`
	// Standby has a second instance in another zone, which takes over when the first is lost. In production there is one in any case.
	Standby bool `json:"standby"`
	// MinCapacity and MaxCapacity bound an AuroraServerless database, in Aurora capacity units of about 2 GiB of memory, in halves. Zeros mean
	// 0.5, and 4 or MinCapacity if that is more.
	MinCapacity float64 `json:"min_capacity"`
	MaxCapacity float64 `json:"max_capacity"`
	// BackupDays is for how many days backups are kept, from 1 to 35. Zero means 1, or 14 in production.
	BackupDays int `json:"backup_days"`
}

// DatabaseKind is a kind of database of RDS.
type DatabaseKind string

const (
	Postgres         DatabaseKind = "postgres"          // an instance of RDS for PostgreSQL
	AuroraServerless DatabaseKind = "aurora-serverless" // a cluster of Aurora PostgreSQL Serverless v2
)

// maxCapacity is the most that Aurora Serverless v2 scales to.
// See https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html.
const maxCapacity = 256

var legalInstance = regexp.MustCompile(`^[a-z][a-z0-9-]*\.[a-z0-9]+$`)

func (d Database) withDefaults(e Environment) Database {
	if d.Kind == "" {
		return d
	}
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	instance, backups := "t4g.micro", 1
	if e.Production {
		instance, backups, d.Standby = "t4g.medium", 14, true
	}
	set(&d.BackupDays, backups)
	switch d.Kind {
	case Postgres:
		if d.Instance == "" {
			d.Instance = instance
		}
		set(&d.StorageGiB, 20)
	case AuroraServerless:
		if d.MinCapacity == 0 {
			d.MinCapacity = 0.5
		}
		if d.MaxCapacity == 0 {
			d.MaxCapacity = max(4, d.MinCapacity)
		}
	}
	return d
}

// faults lists what is wrong with a database. Its environment has its defaults.
func (d Database) faults(e Environment) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, "database: "+fmt.Sprintf(format, args...)) }
	switch d.Kind {
	case "":
		if d != (Database{}) {
			fault("kind: got none with other settings, want %s or %s", Postgres, AuroraServerless)
		}
		return faults
	case Postgres:
		if d.MinCapacity != 0 || d.MaxCapacity != 0 {
			fault("capacity: got from %v to %v for %s, want none: its size is its instance", d.MinCapacity, d.MaxCapacity, Postgres)
		}
	case AuroraServerless:
		if d.Instance != "" || d.StorageGiB != 0 {
			fault("got the instance %q and %d GiB of storage for %s, want neither: it has min_capacity and max_capacity", d.Instance, d.StorageGiB, AuroraServerless)
		}
	default:
		fault("kind: got %q, want %s or %s", d.Kind, Postgres, AuroraServerless)
		return faults
	}
	d = d.withDefaults(e)
	if d.Kind == Postgres && !legalInstance.MatchString(d.Instance) {
		fault("instance: got %q, want a class such as t4g.micro, without db. in front", d.Instance)
	}
	if d.Kind == Postgres && (d.StorageGiB < 20 || d.StorageGiB > 65536/4) {
		fault("storage_gib: got %d, want from 20 to %d", d.StorageGiB, 65536/4)
	}
	halves := func(capacity float64) bool { return capacity*2 == float64(int(capacity*2)) }
	if d.Kind == AuroraServerless && (d.MinCapacity < 0.5 || d.MaxCapacity < max(1, d.MinCapacity) || d.MaxCapacity > maxCapacity || !halves(d.MinCapacity) || !halves(d.MaxCapacity)) {
		fault("capacity: got from %v to %v, want halves from 0.5 to %d, and a maximum of at least 1 that is not below the minimum", d.MinCapacity, d.MaxCapacity, maxCapacity)
	}
	if d.BackupDays < 1 || d.BackupDays > 35 {
		fault("backup_days: got %d, want from 1 to 35", d.BackupDays)
	}
	if text := e.Network.unfit(); text != "" {
		fault("network: %s", text)
	} else if !e.Network.Made() && len(e.Network.Subnets) < 2 {
		fault("the network has one subnet; RDS wants private subnets in at least two availability zones")
	}
	if e.Compute == NoCompute {
		fault("declared, but compute is %q; say %q or %q, or leave the database out", NoCompute, Smallest, Declared)
	}
	return faults
}
