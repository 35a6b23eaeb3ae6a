package wire

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// appendJSON appends the answer to a receive. It is written by hand because it is the engine's largest and most
// frequent answer.
func (r *received) appendJSON(dst []byte) []byte {
	if len(r.deliveries) == 0 {
		return append(dst, "{}"...)
	}
	if dst == nil {
		dst = make([]byte, 0, r.sizeHint())
	}
	dst = append(dst, `{"Messages":[`...)
	for i := range r.deliveries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = r.appendMessage(dst, &r.deliveries[i])
	}
	return append(dst, "]}"...)
}

func (r *received) sizeHint() int {
	size := 64
	for i := range r.deliveries {
		size += 640 + r.deliveries[i].Size()*5/4
	}
	return size
}

func (r *received) appendMessage(dst []byte, d *queue.Delivery) []byte {
	sum := r.sum(d.BodyMD5())
	dst = append(dst, `{"MessageId":"`...)
	dst = d.MessageID.AppendTo(dst)
	dst = append(dst, `","ReceiptHandle":"`...)
	dst = d.AppendReceiptHandle(dst)
	dst = append(dst, `","MD5OfBody":"`...)
	dst = hex.AppendEncode(dst, sum[:])
	dst = append(dst, `","Body":`...)
	dst = appendJSONString(dst, d.Body)
	if attributes := r.systemAttributes(d); len(attributes) > 0 {
		dst = append(dst, `,"Attributes":{`...)
		for i, a := range attributes {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONString(append(append(append(dst, '"'), a.name...), `":`...), a.value)
		}
		dst = append(dst, '}')
	}
	if chosen, sum := r.chosen(d.Content); len(chosen) > 0 {
		dst = appendAttributesJSON(dst, chosen, sum)
	}
	return append(dst, '}')
}

func appendAttributesJSON(dst []byte, attributes []queue.Attribute, sum [md5.Size]byte) []byte {
	dst = append(dst, `,"MD5OfMessageAttributes":"`...)
	dst = hex.AppendEncode(dst, sum[:])
	dst = append(dst, `","MessageAttributes":{`...)
	for i, a := range attributes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, a.Name)
		dst = append(dst, `:{"DataType":`...)
		dst = appendJSONString(dst, a.Type)
		if a.IsBinary() {
			dst = append(dst, `,"BinaryValue":"`...)
			dst = base64.StdEncoding.AppendEncode(dst, []byte(a.Value))
			dst = append(dst, `"}`...)
		} else {
			dst = append(dst, `,"StringValue":`...)
			dst = append(appendJSONString(dst, a.Value), '}')
		}
	}
	return append(dst, '}')
}

type namedValue struct{ name, value string }

// systemAttributes returns the system attributes that were asked for and that the message has.
func (r *received) systemAttributes(d *queue.Delivery) []namedValue {
	if r.system == 0 {
		return nil
	}
	all := make([]namedValue, 0, 9)
	add := func(which systemSet, name, value string) {
		if r.system&which != 0 && value != "" {
			all = append(all, namedValue{name, value})
		}
	}
	add(sysSenderID, "SenderId", r.account)
	add(sysSentTimestamp, "SentTimestamp", milliseconds(d.SentAt))
	add(sysReceiveCount, "ApproximateReceiveCount", strconv.Itoa(d.ReceiveCount))
	add(sysFirstReceived, "ApproximateFirstReceiveTimestamp", milliseconds(d.FirstReceivedAt))
	add(sysTraceHeader, traceHeader, d.TraceHeader)
	add(sysDeadLetterSource, "DeadLetterQueueSourceArn", d.DeadLetterSource)
	add(sysGroupID, "MessageGroupId", d.GroupID)
	if r.fifo {
		add(sysDeduplicationID, "MessageDeduplicationId", d.DeduplicationID)
		add(sysSequenceNumber, "SequenceNumber", d.Sequence.String())
	}
	return all
}

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

const hexDigits = "0123456789abcdef"

// appendJSONString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
