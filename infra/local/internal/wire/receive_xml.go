package wire

import (
	"encoding/base64"
	"encoding/hex"
)

// appendXML appends the answer to a receive in the Query protocol.
func (r *received) appendXML(dst []byte) []byte {
	for i := range r.deliveries {
		d := &r.deliveries[i]
		sum := r.sum(d.BodyMD5())
		dst = append(dst, "<Message><MessageId>"...)
		dst = d.MessageID.AppendTo(dst)
		dst = append(dst, "</MessageId><ReceiptHandle>"...)
		dst = d.AppendReceiptHandle(dst)
		dst = append(dst, "</ReceiptHandle><MD5OfBody>"...)
		dst = hex.AppendEncode(dst, sum[:])
		dst = append(dst, "</MD5OfBody><Body>"...)
		dst = appendEscaped(dst, d.Body)
		dst = append(dst, "</Body>"...)
		for _, a := range r.systemAttributes(d) {
			dst = appendText(appendOpen(dst, "Attribute"), "Name", a.name)
			dst = appendClose(appendText(dst, "Value", a.value), "Attribute")
		}
		chosen, attributesSum := r.chosen(d.Content)
		if len(chosen) > 0 {
			dst = appendText(dst, "MD5OfMessageAttributes", hex.EncodeToString(attributesSum[:]))
		}
		for _, a := range chosen {
			dst = appendText(appendOpen(dst, "MessageAttribute"), "Name", a.Name)
			dst = appendOpen(dst, "Value")
			if a.IsBinary() {
				dst = appendText(dst, "BinaryValue", base64.StdEncoding.EncodeToString([]byte(a.Value)))
			} else {
				dst = appendText(dst, "StringValue", a.Value)
			}
			dst = appendText(dst, "DataType", a.Type)
			dst = appendClose(appendClose(dst, "Value"), "MessageAttribute")
		}
		dst = append(dst, "</Message>"...)
	}
	return dst
}

func appendText(dst []byte, name, text string) []byte {
	return appendClose(appendEscaped(appendOpen(dst, name), text), name)
}
