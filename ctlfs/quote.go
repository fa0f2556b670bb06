package ctlfs

import (
	"errors"
	"strings"
)

// Quoting is that of rc(1):
//
//	line  = [ blanks ] { token blanks }
//	token = { plain | quoted }, one or more
//	plain = any byte but blank, newline and '
//	quoted = ' { any byte but ' | '' } '     two quotes stand for one
//	blank = space | tab | carriage return
//
// A newline outside of quotes ends the line, and nothing may follow it. A
// line whose first byte behind the blanks is # is a comment: no tokens.

// special are the bytes that rc gives a meaning; a token with one is quoted.
// The = is left out: it means something only in front of a command.
const special = "`^#*[]|\\?${}()'<>&;"

var (
	errQuote = errors.New("a ' is not closed; write '' for a quote inside of quotes")
	errLines = errors.New("more than one line; write one command at a time")
)

// Quote returns s as one token of a line.
func Quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, needsQuote) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

func needsQuote(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(special, r)
}

// Join returns the line whose tokens are these: Tokenize(Join(t)) is t.
func Join(tokens []string) string {
	quoted := make([]string, len(tokens))
	for i, t := range tokens {
		quoted[i] = Quote(t)
	}
	return strings.Join(quoted, " ")
}

// Tokenize splits one line into its tokens. An empty line and a comment have
// none.
func Tokenize(line string) ([]string, error) {
	s := scanner{rest: line}
	s.skip(" \t\r")
	if strings.HasPrefix(s.rest, "#") {
		return nil, s.comment()
	}
	var tokens []string
	for s.rest != "" && s.rest[0] != '\n' {
		t, err := s.token()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		s.skip(" \t\r")
	}
	return tokens, s.end()
}

// scanner walks over a line.
type scanner struct{ rest string }

func (s *scanner) skip(set string) { s.rest = strings.TrimLeft(s.rest, set) }

// comment steps over the rest of the line.
func (s *scanner) comment() error {
	if i := strings.IndexByte(s.rest, '\n'); i >= 0 {
		s.rest = s.rest[i:]
		return s.end()
	}
	return nil
}

// end checks that only blanks and newlines are left.
func (s *scanner) end() error {
	s.skip(" \t\r\n")
	if s.rest != "" {
		return errLines
	}
	return nil
}

// token returns the token that starts here.
func (s *scanner) token() (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexAny(s.rest, " \t\r\n'")
		if i < 0 {
			i = len(s.rest)
		}
		b.WriteString(s.rest[:i])
		s.rest = s.rest[i:]
		if !strings.HasPrefix(s.rest, "'") {
			return b.String(), nil
		}
		if err := s.quoted(&b); err != nil {
			return "", err
		}
	}
}

// quoted appends the quoted string that starts here.
func (s *scanner) quoted(b *strings.Builder) error {
	s.rest = s.rest[1:]
	for {
		i := strings.IndexByte(s.rest, '\'')
		if i < 0 {
			return errQuote
		}
		b.WriteString(s.rest[:i])
		s.rest = s.rest[i+1:]
		if !strings.HasPrefix(s.rest, "'") {
			return nil
		}
		b.WriteByte('\'')
		s.rest = s.rest[1:]
	}
}
