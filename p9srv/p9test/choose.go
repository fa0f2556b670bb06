package p9test

import (
	"slices"
	"strconv"
	"strings"
)

// choices are messages with few names, fids and numbers, that meet.
type choices struct{ in []byte }

func (c *choices) next() int {
	if len(c.in) == 0 {
		return 0
	}
	b := c.in[0]
	c.in = c.in[1:]
	return int(b)
}

func (c *choices) of(list ...string) string { return list[c.next()%len(list)] }

// Choose makes messages of the bytes of in, so that a fuzzer's bytes are messages
// that are whole and speak of each other's fids and names.
func Choose(in []byte, version string) (stream []byte) {
	var types []string
	for name := range msgFields {
		if name[0] == 'T' {
			types = append(types, name)
		}
	}
	slices.Sort(types)
	for c := (&choices{in}); len(c.in) > 0; {
		name := types[c.next()%len(types)]
		fields, _ := fieldsOf(name, version)
		text := name + " tag=" + strconv.Itoa(c.next()%4)
		for _, f := range append(fields, "stat.name:s", "stat.length:8", "stat.mode:4") {
			field, kind, _ := strings.Cut(f, ":")
			text += " " + field + "=" + c.value(field, kind)
		}
		if msg, err := Encode(text, version); err == nil {
			stream = append(stream, msg...)
		}
	}
	return stream
}

func (c *choices) value(field, kind string) string {
	switch {
	case field == "version":
		return c.of("9P2000.L", "9P2000.L", "9P2000", "9P2000.u", "x")
	case field == "msize":
		return c.of("8192", "4096", "65536", "1")
	case field == "afid":
		return c.of("nofid", "nofid", "1")
	case strings.HasSuffix(field, "fid"):
		return strconv.Itoa(c.next() % 6)
	case field == "name" && kind == "s", strings.HasSuffix(field, "name") && kind == "s":
		return c.of(`""`, "a", "b", "c", "d", "user.x", "..")
	case kind == "s":
		return c.of(`""`, "a", `"b 1 2"`, "3")
	case kind == "names":
		return c.of("", "a", "b", "a,b", "..", "c,..,a", "a,b,c,d")
	case kind == "data":
		return c.of(`""`, "x", strings.Repeat("0123456789", 30), strings.Repeat("z", 9000))
	case kind == "stat":
		return ""
	}
	return c.of("0", "1", "2", "7", "100", "9000", "~0", "0x40000000", "0x80000000", "0x241", "0x200", "0x1b4", "0x020001ff", "0x00200000")
}
