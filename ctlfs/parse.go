package ctlfs

import (
	"slices"
	"strings"
	"syscall"
)

// MaxLine is the longest command in bytes.
const MaxLine = 64 << 10

const errNoHandler = syscall.ENOTSUP

// scope is whose ctl file a command was written to: its object is left out of
// the command, and so may be the word for its kind. The zero scope is the
// root's.
type scope struct {
	kind Kind
	name string
}

// word is how commands call the scope's kind of object.
func (s scope) word() string {
	switch s.kind {
	case KindPeer:
		return "peer"
	case KindVolume:
		return "volume"
	case KindExport:
		return "export"
	default:
		return ""
	}
}

// allows tells whether v can be given in the scope.
func (s scope) allows(v *Verb) bool {
	return s.kind == KindWord || v.Name == "help" || v.object(s.kind) >= 0
}

// parse makes a Call of a line, nil for one without a command.
func parse(s scope, line string) (*Call, error) {
	if len(line) > MaxLine {
		return nil, Errorf(syscall.EINVAL, "a command may have %d bytes, this has %d", MaxLine, len(line))
	}
	if strings.IndexByte(line, 0) >= 0 {
		return nil, Errorf(syscall.EINVAL, "a command may have no NUL byte in it")
	}
	tokens, err := Tokenize(line)
	if err != nil {
		return nil, Errorf(syscall.EINVAL, "%v", err)
	}
	if len(tokens) == 0 {
		return nil, nil
	}
	v, n := find(s, tokens)
	if v == nil {
		return nil, unknownVerb(s, tokens)
	}
	return bind(s, v, tokens[n:])
}

// find returns the verb that most of the first tokens name, and their number.
func find(s scope, tokens []string) (*Verb, int) {
	var best *Verb
	most := 0
	for i := range table {
		v := &table[i]
		if !s.allows(v) {
			continue
		}
		for _, words := range s.spellings(v) {
			if len(words) > most && len(words) <= len(tokens) && slices.Equal(words, tokens[:len(words)]) {
				best, most = v, len(words)
			}
		}
	}
	return best, most
}

// spellings are the words that call v in the scope: all, and those behind the
// word for the object's kind.
func (s scope) spellings(v *Verb) [][]string {
	words := strings.Fields(v.Name)
	if len(words) > 1 && words[0] == s.word() {
		return [][]string{words, words[1:]}
	}
	return [][]string{words}
}

func unknownVerb(s scope, tokens []string) error {
	first := tokens[0]
	for i := range table {
		if v := &table[i]; s.allows(v) && strings.HasPrefix(v.Name, first+" ") {
			return Errorf(syscall.EINVAL, "%s: no such command; help %s tells those there are", Join(tokens[:min(2, len(tokens))]), Quote(first))
		}
	}
	return Errorf(syscall.EINVAL, "%s: no such command; help tells those there are", Quote(first))
}

// bind gives the tokens behind the verb their names.
func bind(s scope, v *Verb, tokens []string) (*Call, error) {
	c := &Call{Verb: v, args: make(map[string][]string)}
	args := v.Args
	if i := v.object(s.kind); i >= 0 && s.kind != KindWord {
		c.args[args[i].Name] = []string{s.name}
		args = slices.Delete(slices.Clone(args), i, i+1)
	}
	if !c.positional(args, &tokens) || !c.options(args, tokens) {
		return nil, Errorf(syscall.EINVAL, "usage: %s%s", v.Name, synopses(args))
	}
	return c, nil
}

// positional takes the tokens of the arguments that stand by their place.
// Optional ones are given from the left as far as the tokens reach that are not
// the verb's flags and options.
func (c *Call) positional(args []Arg, tokens *[]string) bool {
	required := 0
	for _, a := range args {
		if a.Form == Required {
			required++
		}
	}
	last := len(*tokens)
	for last > required && (isFlag(args, (*tokens)[last-1]) || isOption(args, (*tokens)[last-1])) {
		last--
	}
	spare := last - required
	for _, a := range args {
		if a.Form == Rest {
			c.args[a.Name], *tokens = *tokens, nil
			continue
		}
		if a.Form == Optional && spare > 0 {
			spare--
		} else if a.Form != Required {
			continue
		}
		if len(*tokens) == 0 || !a.takes((*tokens)[0]) || isOption(args, (*tokens)[0]) {
			return false
		}
		c.args[a.Name], *tokens = (*tokens)[:1:1], (*tokens)[1:]
	}
	return true
}

// isFlag tells whether a token is the word of a flag of the verb.
func isFlag(args []Arg, token string) bool {
	return slices.ContainsFunc(args, func(a Arg) bool { return a.Form == Flag && a.Name == token })
}

// isOption tells whether a token looks like an option of the verb, which it
// is not where a name must stand.
func isOption(args []Arg, token string) bool {
	return slices.ContainsFunc(args, func(a Arg) bool {
		return a.Form == Option && strings.HasPrefix(token, a.Name+"=")
	})
}

// options takes the tokens behind the positional ones, each at most once.
func (c *Call) options(args []Arg, tokens []string) bool {
	for _, t := range tokens {
		key, value, eq := strings.Cut(t, "=")
		i := slices.IndexFunc(args, func(a Arg) bool {
			return a.Name == key && (eq && a.Form == Option || !eq && a.Form == Flag)
		})
		if i < 0 || c.Has(key) || eq && value == "" || !args[i].takes(value) {
			return false
		}
		c.args[key] = []string{value}
	}
	return true
}

// takes tells whether the token is one of the argument's words.
func (a Arg) takes(token string) bool {
	return len(a.Words) == 0 || slices.Contains(a.Words, token)
}
