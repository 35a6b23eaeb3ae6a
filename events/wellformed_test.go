package events

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzWellFormed compares with encoding/json.
func FuzzWellFormed(f *testing.F) {
	for _, text := range []string{
		``, ` `, `{}`, ` { } `, `[]`, `[ ]`, `{"a":1,"b":[true,false,null]}`, `{"a":1,}`, `[1,]`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`,
		`[1 2]`, `[`, `{`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `]`, `1]`, `{} {}`, `"a"`, `"`, `"\"`, `"\\"`, `"\u12aF"`, `"\u12g4"`, `"\u123`, `"\x"`, "\"\x01\"",
		"\"\x7f\xff\"", `0`, `-0`, `00`, `01`, `-`, `-01`, `1.`, `.1`, `1.5`, `1.e1`, `1e`, `1e+`, `1E-07`, `1e5.`, `+1`, `tru`, `truE`, `nulls`, `Infinity`,
		strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), strings.Repeat(`{"":`, 10_001),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := wellFormed(text), json.Valid(text); got != want {
			t.Errorf("%.100q is well-formed: got %v, want %v", text, got, want)
		}
	})
}

// BenchmarkWellFormed beside what it stands in for.
func BenchmarkWellFormed(b *testing.B) {
	text := []byte(`{"specversion":"1.0","id":"0198a7c2-7d5e-7e7b-8a64-1f2e3d4c5b6a","source":"/gateways/1","type":"device.temperature.measured.v1",` +
		`"subject":"device-000017","time":"2026-01-02T03:04:05.678Z","datacontenttype":"application/json",` +
		`"dataschema":"urn:fanout:device.temperature.measured.v1","sequence":"00000000000000000017","data":{"celsius":21.5}}`)
	for name, valid := range map[string]func([]byte) bool{"ours": wellFormed, "encoding/json": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if !valid(text) {
					b.Fatalf("%s is not well-formed", text)
				}
			}
		})
	}
}
