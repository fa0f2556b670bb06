package ctlfs

import (
	"slices"
	"strings"
	"testing"
)

func TestTokenize(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"", nil},
		{"  \t\n", nil},
		{"# volume create x", nil},
		{"  # x 'y\n", nil},
		{"volume create x\n", []string{"volume", "create", "x"}},
		{"  a\tb  c \r\n", []string{"a", "b", "c"}},
		{"a 'b c' d", []string{"a", "b c", "d"}},
		{"''", []string{""}},
		{"'it''s'", []string{"it's"}},
		{"a=''", []string{"a="}},
		{"name='my files'x", []string{"name=my filesx"}},
		{"''''", []string{"'"}},
		{"'a\nb'\n", []string{"a\nb"}},
		{"a #b", []string{"a", "#b"}},
		{"a\"b", []string{"a\"b"}},
	} {
		got, err := Tokenize(c.line)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Tokenize(%q) = %q, %v; want %q", c.line, got, err, c.want)
		}
	}
}

func TestTokenizeRefuses(t *testing.T) {
	for line, want := range map[string]error{
		"a 'b":       errQuote,
		"'":          errQuote,
		"'''":        errQuote,
		"a\nb":       errLines,
		"# a\nb":     errLines,
		"a\n# again": errLines,
	} {
		if got, err := Tokenize(line); err != want {
			t.Errorf("Tokenize(%q) = %q, %v; want %v", line, got, err, want)
		}
	}
}

func FuzzTokenize(f *testing.F) {
	for _, s := range []string{"a b", "'it''s' x", "a'b", "a\x00b 'c\n'", "#", "''"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		tokens, err := Tokenize(line)
		if err != nil {
			return
		}
		again, err := Tokenize(Join(tokens))
		if err != nil || !slices.Equal(again, tokens) {
			t.Fatalf("%q is %q, and joined %q is %q, %v", line, tokens, Join(tokens), again, err)
		}
	})
}

func FuzzJoin(f *testing.F) {
	f.Add("a", "b c", "it's")
	f.Add("", "#", "\n")
	f.Add("=", "a='", "\xff\x00")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		want := []string{a, b, c}
		got, err := Tokenize(Join(want))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q joined is %q, which is %q, %v", want, Join(want), got, err)
		}
		if b == "" || strings.Contains(a, "=") {
			return
		}
		r := Rec(a, b)
		back, err := ParseRecord(r.String())
		if a != "" && !strings.ContainsFunc(a, needsQuote) && (err != nil || !slices.Equal(back, r)) {
			t.Fatalf("record %q is %q, which is %q, %v", r, r.String(), back, err)
		}
	})
}
