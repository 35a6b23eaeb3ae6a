package producer

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/device-fanout/fanout/producer/internal/spool"
)

// refusedFile is the file of the events that cannot be sent.
const refusedFile = "refused.ndjson"

// reportDamage tells of a damaged piece.
func (p *Producer) reportDamage(d spool.Damage) {
	p.tellSetAside(SetAside{Path: d.Aside, Err: &CorruptRecordError{File: d.File, Offset: d.Offset, Bytes: d.Bytes, Torn: d.Torn}})
}

func (p *Producer) tellSetAside(s SetAside) {
	p.cfg.Logger.Error("set aside, it will not be sent: see the file at path", "event_id", s.EventID, "device_id", s.DeviceID, "path", s.Path, "err", s.Err)
	if p.cfg.Hooks.SetAside != nil {
		p.cfg.Hooks.SetAside(s)
	}
}

// setAside writes an event that cannot be sent where a person finds it: as a line of JSON whose member event is the event
// itself.
func (p *Producer) setAside(event *pending, failure error) error {
	line, err := json.Marshal(struct {
		Time  time.Time       `json:"time"`
		Code  string          `json:"code,omitempty"`
		Error string          `json:"error"`
		Event json.RawMessage `json:"event"`
	}{time.Now().UTC(), event.code, failure.Error(), event.body})
	if err != nil {
		return err
	}
	path, err := p.store.SetAside(refusedFile, line)
	if err != nil {
		return fmt.Errorf("set aside event %s: %w", event.event.ID, err)
	}
	p.tellSetAside(SetAside{EventID: event.event.ID, DeviceID: event.event.DeviceID, Path: path, Err: failure})
	return nil
}
