package events

// ParseLine reads one line of input, as `fanout publish` takes them: either the short form
//
//	{"device_id":"V19","type":"device.motion.changed.v1","time":"2005-01-08T07:24:54Z","data":{"detected":true}}
//
// with an optional id and source, or a whole CloudEvents event as [Decode] takes it. In the short form a line without an
// id gets a new UUIDv7, and a line without a source leaves [Event.Source] empty for the producer to fill in.
//
// Unlike Decode it is strict: a name that it does not know, in the line or in its data, is an error that tells the
// known ones, for in input such a name is most likely a mistake. White space around the line is fine, an empty line is
// not. The error is an [*Error] that lists every bad field. It is safe for concurrent use, and keeps nothing of line.
func ParseLine(line []byte) (Event, error) {
	r := reader{strict: true}
	return r.decode(line)
}
