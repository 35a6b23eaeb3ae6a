package gateway

import (
	"encoding/json"
	"errors"
	"time"
)

// maxRefusals is how many refusals may wait to be published; more are dropped.
const maxRefusals = 256

// refusal is what a device hears of a message that was refused.
type refusal struct {
	topic   string
	problem *Problem
}

// reasonCodes are the reason codes of MQTT 5 (section 2.4) for kinds of problems; the others are reasonOther.
var reasonCodes = map[kind]byte{
	kindMalformed:       0x99, // payload format invalid
	kindInvalid:         0x99,
	kindUnknownType:     0x99,
	kindTooLarge:        0x95, // packet too large
	kindForbidden:       0x87, // not authorized
	kindForbiddenSource: 0x87,
	kindBusy:            0x97, // quota exceeded
	kindLimited:         0x97,
}

// reasonOther is "implementation specific error".
const reasonOther = 0x83

// tellRefusal tells the device of topic why its message was refused. It does not wait.
func (s *subscription) tellRefusal(topic string, p *Problem) {
	device, ok := s.filters.device(topic)
	if s.filters.refusals == nil || !ok {
		return
	}
	select {
	case s.refusals <- refusal{s.filters.refusals.topicOf(device), p}:
	default:
	}
}

// sendRefusals publishes refusals until end is closed and none is left, or the connection is gone.
func (s *subscription) sendRefusals(end <-chan struct{}) {
	for ending := false; ; {
		select {
		case r := <-s.refusals:
			s.sendRefusal(r)
			continue
		default:
		}
		if ending {
			return
		}
		select {
		case r := <-s.refusals:
			s.sendRefusal(r)
		case <-end:
			ending = true
		}
	}
}

func (s *subscription) sendRefusal(r refusal) {
	code, ok := reasonCodes[r.problem.kind]
	if !ok {
		code = reasonOther
	}
	text, err := json.Marshal(struct {
		*Problem
		ReasonCode byte `json:"reason_code"`
	}{r.problem, code})
	if err == nil {
		token := s.client.Publish(r.topic, 0, false, text)
		if token.WaitTimeout(time.Second) {
			err = token.Error()
		} else {
			err = errors.New("the connection takes nothing")
		}
	}
	if err != nil {
		s.messageLog.Do(func() { s.logger.Warn("refusal not published", "topic", r.topic, "err", err) })
	}
}
