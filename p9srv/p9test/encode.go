package p9test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"bazil/p9srv"
)

// Encode makes the bytes of a message of its text.
func Encode(line, version string) ([]byte, error) {
	words := splitFields(line)
	typ, ok := msgTypes[words[0]]
	fields, known := fieldsOf(words[0], version)
	if !ok || !known {
		return nil, fmt.Errorf("no message %q", words[0])
	}
	values := make(map[string]string)
	for _, w := range words[1:] {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("no field=value: %q", w)
		}
		values[k] = v
	}
	tag := uint64(1)
	if v, ok := values["tag"]; ok {
		tag, _ = parseNumber(v)
	}
	b := []byte{0, 0, 0, 0, byte(typ), byte(tag), byte(tag >> 8)}
	b, err := encodeFields(b, fields, values, version)
	if err != nil {
		return nil, err
	}
	b = append(b, unquote(values["extra"])...)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	return b, nil
}

func encodeFields(b []byte, fields []string, values map[string]string, version string) ([]byte, error) {
	for _, f := range fields {
		name, kind, _ := strings.Cut(f, ":")
		v, given := values[name]
		switch kind {
		case "1", "2", "4", "8", "errno":
			n := uint64(0)
			if name == "afid" || name == "n_uname" || strings.HasPrefix(name, "n_") {
				n = ^uint64(0)
			}
			if given {
				var err error
				if n, err = parseNumber(v); err != nil {
					return nil, fmt.Errorf("field %s: %w", name, err)
				}
			}
			size, _ := strconv.Atoi(kind)
			b = append(b, binary.LittleEndian.AppendUint64(nil, n)[:size]...)
		case "s":
			b = p9srv.AppendString(b, unquote(v))
		case "data":
			data := unquote(v)
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
		case "names":
			var names []string
			if v != "" {
				names = strings.Split(v, ",")
			}
			b = binary.LittleEndian.AppendUint16(b, uint16(len(names)))
			for _, n := range names {
				b = p9srv.AppendString(b, unquote(n))
			}
		case "stat":
			s, err := encodeStat(values, version)
			if err != nil {
				return nil, err
			}
			binary.LittleEndian.PutUint16(b[len(b)-2:], uint16(len(s)))
			b = append(b, s...)
		default:
			return nil, fmt.Errorf("field %s: cannot encode %s", name, kind)
		}
	}
	return b, nil
}

// encodeStat makes a stat of the fields named stat.X; others say "don't
// touch".
func encodeStat(values map[string]string, version string) ([]byte, error) {
	var b []byte
	for _, f := range statLayout(version) {
		name, kind, _ := strings.Cut(f, ":")
		v, given := values["stat."+name]
		switch kind {
		case "s":
			b = p9srv.AppendString(b, unquote(v))
		case "qid":
			b = append(b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"...)
		default:
			n := ^uint64(0)
			if given {
				var err error
				if n, err = parseNumber(v); err != nil {
					return nil, fmt.Errorf("field %s: %w", name, err)
				}
			}
			size, _ := strconv.Atoi(kind)
			b = append(b, binary.LittleEndian.AppendUint64(nil, n)[:size]...)
		}
	}
	binary.LittleEndian.PutUint16(b, uint16(len(b)-2))
	return b, nil
}
