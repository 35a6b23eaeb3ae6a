package topic

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// deliver hands a subscription the messages that match its filter. What its queue cannot take goes to its dead-letter
// queue; without one, or when that fails too, it is lost, as on AWS.
func (s *Service) deliver(t *topic, sub *subscription, publications []*publication, stamp string) {
	all := make([]queue.Parcel, 0, len(publications))
	fitting := make([]queue.Parcel, 0, len(publications))
	var refused []queue.Parcel // a raw message cannot carry more attributes than SQS takes
	for _, p := range publications {
		if !sub.matches(p) {
			continue
		}
		parcel := s.parcel(t, sub, p, stamp)
		all = append(all, parcel)
		if len(parcel.Content.Attributes) > queue.MaxAttributes {
			refused = append(refused, parcel)
		} else {
			fitting = append(fitting, parcel)
		}
	}
	if len(fitting) > 0 {
		if err := s.queues.Deliver(sub.endpoint, t.arn, fitting); err != nil {
			refused = all // and not one after the other, so that a group keeps its order
		}
	}
	if len(refused) > 0 && sub.deadLetterARN != "" {
		_ = s.queues.Deliver(sub.deadLetterARN, t.arn, refused) // then the messages are lost, as the comment above says
	}
}

// parcel is p as the subscription's queue gets it.
func (s *Service) parcel(t *topic, sub *subscription, p *publication, stamp string) queue.Parcel {
	parcel := queue.Parcel{Content: p.content}
	if !sub.raw {
		parcel.Content = queue.NewContent(s.envelope(t, sub, p, stamp), nil, p.message.TraceHeader)
	}
	toFIFO := strings.HasSuffix(sub.endpoint, ".fifo")
	if toFIFO == t.fifo { // a standard queue on a FIFO topic gets neither ID
		parcel.GroupID = p.groupID
		parcel.DeduplicationID = p.deduplicationID
	}
	return parcel
}

// envelope wraps a message in SNS's JSON. Members come in AWS's order. Signatures are fakes: a standard topic's carry
// the members that AWS sets, and verify nowhere; a FIFO topic's have none, as on AWS.
func (s *Service) envelope(t *topic, sub *subscription, p *publication, stamp string) string {
	var b envelopeWriter
	b.member("Type", "Notification")
	b.member("MessageId", p.result.MessageID.String())
	if t.fifo {
		b.member("SequenceNumber", p.result.Sequence.String())
	}
	b.member("TopicArn", t.arn)
	if p.message.Subject != nil {
		b.member("Subject", *p.message.Subject)
	}
	b.member("Message", p.content.Body)
	b.member("Timestamp", stamp)
	host := "https://sns." + s.region + ".amazonaws.com/"
	if !t.fifo {
		b.member("SignatureVersion", "1")
		b.member("Signature", "bm90LXNpZ25lZC1ieS10aGUtbG9jYWwtZW5naW5l")
		b.member("SigningCertURL", host+"SimpleNotificationService-local.pem")
	}
	b.member("UnsubscribeURL", host+"?Action=Unsubscribe&SubscriptionArn="+sub.arn)
	if len(p.content.Attributes) > 0 {
		b.attributes(p.content.Attributes)
	}
	b.WriteString("\n}")
	return b.String()
}

type envelopeWriter struct{ strings.Builder }

func (b *envelopeWriter) name(name string) {
	if b.Len() == 0 {
		b.WriteString("{\n  ")
	} else {
		b.WriteString(",\n  ")
	}
	b.text(name)
	b.WriteString(" : ")
}

func (b *envelopeWriter) member(name, value string) {
	b.name(name)
	b.text(value)
}

func (b *envelopeWriter) text(s string) {
	enc := json.NewEncoder(trimNewline{&b.Builder})
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes, and a strings.Builder never fails
}

func (b *envelopeWriter) attributes(attributes []queue.Attribute) {
	b.name("MessageAttributes")
	for i, a := range attributes {
		if i == 0 {
			b.WriteString("{\n    ")
		} else {
			b.WriteString(",\n    ")
		}
		b.text(a.Name)
		b.WriteString(` : {"Type":`)
		b.text(a.Type)
		b.WriteString(`,"Value":`)
		if a.IsBinary() {
			b.text(base64.StdEncoding.EncodeToString([]byte(a.Value)))
		} else {
			b.text(a.Value)
		}
		b.WriteString("}")
	}
	b.WriteString("\n  }")
}

// trimNewline leaves out the newline that a json.Encoder ends with.
type trimNewline struct{ *strings.Builder }

func (w trimNewline) Write(p []byte) (int, error) {
	_, err := w.Builder.Write(p[:len(p)-1])
	return len(p), err
}
