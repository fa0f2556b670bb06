package ctlfs

import "strings"

// Field is one attr=value of a Record.
type Field struct{ Name, Value string }

// Record is one line of a status or log file.
type Record []Field

// Rec makes a Record of names and values in turn. A value that is empty is
// left out.
func Rec(pairs ...string) Record {
	var r Record
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			r = append(r, Field{pairs[i], pairs[i+1]})
		}
	}
	return r
}

// Get returns the value of the first field of that name, or "".
func (r Record) Get(name string) string {
	for _, f := range r {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// String returns attr=value pairs with a blank between, each value quoted as
// rc does.
func (r Record) String() string {
	var b strings.Builder
	for i, f := range r {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f.Name)
		b.WriteByte('=')
		if f.Value != "" {
			b.WriteString(Quote(f.Value))
		}
	}
	return b.String()
}

// ParseRecord reads what Record.String wrote. A token without = is a field
// with an empty name.
func ParseRecord(line string) (Record, error) {
	tokens, err := Tokenize(line)
	if err != nil {
		return nil, err
	}
	var r Record
	for _, t := range tokens {
		name, value, ok := strings.Cut(t, "=")
		if !ok {
			name, value = "", t
		}
		r = append(r, Field{name, value})
	}
	return r, nil
}

// lines renders records, one a line.
func lines(records []Record) []byte {
	var b strings.Builder
	for _, r := range records {
		b.WriteString(r.String())
		b.WriteByte('\n')
	}
	return []byte(b.String())
}
