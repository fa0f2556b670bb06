package p9test

import (
	"encoding/binary"
	"fmt"
	"strings"

	"bazil/p9srv"
)

func qidText(q p9srv.QID) string {
	kind := ""
	for _, k := range []struct {
		bit  p9srv.QIDType
		name string
	}{{p9srv.QTDir, "d"}, {p9srv.QTAppend, "a"}, {p9srv.QTExcl, "x"}, {p9srv.QTSymlink, "l"}} {
		if q.Type&k.bit != 0 {
			kind += k.name
		}
	}
	if kind == "" {
		kind = "f"
	}
	return fmt.Sprintf("%s:%d", kind, q.Path)
}

// Decode makes the text of a message: its name and its fields by name.
func Decode(msg []byte, version string) (string, map[string]string, error) {
	name := p9srv.MsgType(msg[4]).String()
	fields, ok := fieldsOf(name, version)
	if !ok {
		return name, nil, fmt.Errorf("unknown message %s", name)
	}
	values := map[string]string{"tag": fmt.Sprint(binary.LittleEndian.Uint16(msg[5:]))}
	d := p9srv.NewDecoder(msg[p9srv.HeaderSize:])
	decodeFields(&d, fields, values, "", version)
	if d.Bad() || d.Len() > 0 {
		return name, values, fmt.Errorf("%s of %d bytes does not parse", name, len(msg))
	}
	return name, values, nil
}

func decodeFields(d *p9srv.Decoder, fields []string, values map[string]string, prefix, version string) {
	for _, f := range fields {
		name, kind, _ := strings.Cut(f, ":")
		switch kind {
		case "1":
			values[prefix+name] = fmt.Sprint(d.U8())
		case "2":
			values[prefix+name] = fmt.Sprint(d.U16())
		case "4":
			n := d.U32()
			values[prefix+name] = fmt.Sprint(n)
			if name == "mode" {
				values[prefix+name] = fmt.Sprintf("%#o", n)
				if strings.HasPrefix(prefix, "stat.") {
					values[prefix+name] = fmt.Sprintf("%#x", n)
				}
			}
		case "8":
			values[prefix+name] = fmt.Sprint(d.U64())
		case "errno":
			values[prefix+name] = errnoName(uint64(d.U32()))
		case "s":
			values[prefix+name] = quote(d.String())
		case "qid":
			values[prefix+name] = qidText(d.QID())
		case "qids":
			var all []string
			for range d.U16() {
				all = append(all, qidText(d.QID()))
			}
			values[prefix+name] = strings.Join(all, ",")
		case "data":
			data := d.Bytes(int(d.U32()))
			values[prefix+name] = quote(string(data))
			values[prefix+"count"] = fmt.Sprint(len(data))
			values[prefix+"dir"] = statNames(data, version)
		case "dirents":
			in := p9srv.NewDecoder(d.Bytes(int(d.U32())))
			var all []string
			for in.Len() > 0 {
				q, off, typ, name := in.QID(), in.U64(), in.U8(), in.String()
				all = append(all, fmt.Sprintf("%s/%d", quote(name), typ))
				values["last"] = fmt.Sprint(off)
				_ = q
			}
			values[prefix+name] = strings.Join(all, ",")
		case "stat":
			decodeFields(d, statLayout(version), values, "stat.", version)
		}
	}
}

// statNames are the names in the bytes of a directory of 9P2000.
func statNames(data []byte, version string) string {
	d := p9srv.NewDecoder(data)
	var names []string
	for d.Len() > 0 && !d.Bad() {
		values := make(map[string]string)
		decodeFields(&d, statLayout(version), values, "", version)
		names = append(names, values["name"])
	}
	return strings.Join(names, ",")
}
