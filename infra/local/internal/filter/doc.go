// Package filter is the grammar of SNS filter policies: it parses them as SNS does, with its error texts, and matches
// messages against them.
//
// A policy is a JSON object. Its keys name message attributes, or members of a JSON body; all keys must match. A key
// has an array of conditions, of which one must match:
//
//	{"type": ["device.power.changed.v1", {"prefix": "device.motion."}], "source": [{"anything-but": "test"}]}
//
// Conditions are strings, numbers, true, false and null, and {"prefix": s}, {"suffix": s}, {"equals-ignore-case": s},
// {"anything-but": value, list or {"prefix": s}}, {"numeric": [">", 0, "<=", 100]}, {"exists": true or false} and
// {"cidr": "10.0.0.0/8"}. The key "$or" holds an array of objects, of which one must match. In a policy for bodies an
// object nests.
//
// What SNS does not know is refused when the policy is set; nothing is ignored.
//
// Where AWS leaves something open this package decides: the limit of five keys counts the keys that have conditions,
// of the largest branch of an "$or"; an anything-but matches an array of strings if one of its elements is something
// else; "wildcard" is unknown.
package filter
