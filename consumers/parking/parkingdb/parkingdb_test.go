package parkingdb_test

import (
	"net"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/consumers/parking/parkingdb"
)

func TestStore_KeepsDevicesAndTheirVersions(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		ctx := t.Context()
		db, err := database.Open(ctx, target)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		store, err := parkingdb.Open(ctx, db)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parkingdb.Open(ctx, db); err != nil {
			t.Fatalf("opened again: %v", err)
		}
		if another, anotherDB, err := parkingdb.OpenService(ctx, target, nil); err != nil {
			t.Errorf("OpenService: %v", err)
		} else if _, err := another.Find(ctx, "lights"); err != nil {
			t.Errorf("OpenService: %v", err)
		} else if err := anotherDB.Close(); err != nil {
			t.Errorf("OpenService: %v", err)
		}
		for _, device := range []string{"b", "B", "a"} {
			if err := parking.Park(ctx, store, "lights", device, parking.Cause{MessageID: "m-" + device, Code: "refused", Error: "no \"such\" lamp"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := parking.Park(ctx, store, "heating", "a", parking.Cause{MessageID: "other"}); err != nil {
			t.Fatal(err)
		}
		all, err := store.Find(ctx, "lights")
		if err != nil || len(all) != 3 || all[0].ID != "B" || all[1].ID != "a" || all[2].ID != "b" {
			t.Fatalf("got %+v, %v, want B, a and b", all, err)
		}
		if d := all[1]; d.Service != "lights" || d.State != parking.Parked || d.Cause.MessageID != "m-a" || d.Cause.Error != `no "such" lamp` || d.Since.IsZero() {
			t.Errorf("got %+v", d)
		}
		two, err := store.Find(ctx, "lights", "a", "nobody", "b")
		if err != nil || len(two) != 2 {
			t.Errorf("got %+v, %v, want a and b", two, err)
		}
		// Whoever has an old version changes nothing.
		old := all[1]
		if ok, err := parking.Confirm(ctx, store, "lights", "a", "m-a", false); !ok || err != nil {
			t.Errorf("got %v, %v", ok, err)
		}
		next := old
		next.Version++
		for name, wrong := range map[string][2]parking.Device{"update": {old, next}, "remove": {old, {}}, "insert": {{Service: "lights", ID: "a"}, next}} {
			if ok, err := store.Swap(ctx, wrong[0], wrong[1]); ok || err != nil {
				t.Errorf("%s with an old version: got %v, %v, want false", name, ok, err)
			}
		}
		now, _ := store.Find(ctx, "lights", "a")
		if ok, err := store.Swap(ctx, now[0], parking.Device{}); !ok || err != nil {
			t.Errorf("remove: got %v, %v", ok, err)
		}
		if left, _ := store.Find(ctx, "lights", "a"); len(left) != 0 {
			t.Errorf("got %+v after it was removed", left)
		}
	})
}

// A service that parks devices starts before its database.
func TestOpenService_WhileTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody else will listen on, once it is closed
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	store, db, err := parkingdb.OpenService(t.Context(), "postgres://"+listener.Addr().String()+"/x?sslmode=disable", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Find(t.Context(), "lights"); err == nil {
		t.Error("Find: got no error while the database is down")
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := parkingdb.OpenService(t.Context(), t.TempDir(), nil); err == nil {
		t.Error("a folder: got no error, want one")
	}
}
