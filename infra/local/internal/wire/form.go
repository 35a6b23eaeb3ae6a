package wire

import (
	"encoding/base64"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
)

// form is a request in the Query protocol: names like "Entries.member.1.Id" and their values.
type form map[string]string

// parse decodes an application/x-www-form-urlencoded text and adds its values to f.
// Values do not share memory with text; names may.
func (f form) parse(text string) error {
	for text != "" {
		var pair string
		pair, text, _ = strings.Cut(text, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return apierr.New(codeMalformed, "The request has a parameter whose name is not correctly encoded.")
		}
		plain, err := url.QueryUnescape(value)
		if err != nil {
			return apierr.New(codeMalformed, "The value of parameter %s is not correctly encoded.", name)
		}
		if len(plain) == len(value) { // nothing was decoded: it is still a part of text
			plain = strings.Clone(plain)
		}
		f[name] = plain
	}
	return nil
}

// decode fills the struct that target points to. A field's tag says where its value stands:
//
//	query:"QueueUrl"                     a value
//	query:"AttributeName"                a list: AttributeName.1, AttributeName.2, …
//	query:"Attribute,Name,Value"         a map: Attribute.1.Name with Attribute.1.Value, …
//	query:"Tags.member,Key,Value"        the same with a wrapped list
func (f form) decode(target any) error {
	d := formDecoder{form: f}
	d.structure(reflect.ValueOf(target).Elem())
	return d.err
}

type formDecoder struct {
	form form
	path []byte // the name so far, with a final dot unless empty
	err  error
}

// field is a field of a request struct, by its tag.
type formField struct {
	index            []int
	name, key, value string
}

var formPlans sync.Map // reflect.Type to []formField

func formPlan(t reflect.Type) []formField {
	if plan, ok := formPlans.Load(t); ok {
		return plan.([]formField)
	}
	var plan []formField
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("query")
		if !ok {
			continue
		}
		field := formField{index: f.Index}
		field.name, tag, _ = strings.Cut(tag, ",")
		field.key, field.value, _ = strings.Cut(tag, ",")
		plan = append(plan, field)
	}
	formPlans.Store(t, plan)
	return plan
}

// structure fills v and reports whether anything was there for it.
func (d *formDecoder) structure(v reflect.Value) (found bool) {
	start := len(d.path)
	for _, field := range formPlan(v.Type()) {
		d.path = append(d.path, field.name...)
		if d.member(v.FieldByIndex(field.index), field) {
			found = true
		}
		d.path = d.path[:start]
	}
	return found
}

func (d *formDecoder) member(v reflect.Value, field formField) (found bool) {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Map:
		return d.mapping(v, field)
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		start := len(d.path)
		for n := 1; ; n++ {
			v.Grow(1)
			v.SetLen(n)
			d.path = strconv.AppendInt(append(d.path[:start], '.'), int64(n), 10)
			ok := d.value(v.Index(n - 1))
			d.path = d.path[:start]
			if !ok {
				v.SetLen(n - 1)
				return n > 1
			}
		}
	default:
		return d.value(v)
	}
}

func (d *formDecoder) mapping(v reflect.Value, field formField) bool {
	start := len(d.path)
	for n := 1; ; n++ {
		d.path = strconv.AppendInt(append(d.path[:start], '.'), int64(n), 10)
		entry := len(d.path)
		element := reflect.New(v.Type().Elem()).Elem()
		key, okKey := d.form[string(append(append(d.path, '.'), field.key...))]
		d.path = append(append(d.path[:entry], '.'), field.value...)
		okValue := d.value(element)
		d.path = d.path[:start]
		if !okKey && !okValue {
			return n > 1
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		v.SetMapIndex(reflect.ValueOf(key), element)
	}
}

// value fills v with the value at the path, or with the struct below it.
func (d *formDecoder) value(v reflect.Value) bool {
	if v.Kind() == reflect.Struct {
		d.path = append(d.path, '.')
		return d.structure(v)
	}
	text, ok := d.form[string(d.path)]
	if !ok {
		return false
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int:
		var n int
		n, err = strconv.Atoi(text)
		v.SetInt(int64(n))
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case reflect.Slice: // of bytes
		var b []byte
		b, err = base64.StdEncoding.DecodeString(text)
		v.SetBytes(b)
	default:
		panic("wire: no way to decode a " + v.Type().String())
	}
	if err != nil && d.err == nil {
		d.err = apierr.New(codeMalformed, "The value %q of parameter %s is not valid.", text, string(d.path))
	}
	return true
}
