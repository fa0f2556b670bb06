package ctlfs

import "strings"

// Kind says what an argument of a command names.
type Kind uint8

// The kinds of arguments.
const (
	KindWord      Kind = iota // any token, or one of Arg.Words
	KindNew                   // a name for a new object
	KindKey                   // a peer's public key in hex
	KindSharing               // a sharing key's name
	KindPeer                  // a peer's nickname or public key
	KindVolume                // a volume's name
	KindExport                // an export's name
	KindBackend               // where chunks are: local, peerkey:KEY
	KindAddr                  // HOST:PORT
	KindDial                  // a listener as Plan 9 writes it: unix!/path
	KindPath                  // a path inside of a volume
	KindLocalFile             // a file on the server's machine
)

// Form says how an argument stands in the line.
type Form uint8

// The forms of arguments.
const (
	Required Form = iota // a token that must be there
	Optional             // a token that may be left out
	Rest                 // all tokens that are left, perhaps none
	Option               // key=value behind the other arguments
	Flag                 // the bare word behind the other arguments
)

// Arg is one argument of a Verb.
type Arg struct {
	Name  string   // how a handler asks for it, and an Option's key or a Flag's word
	Kind  Kind     // what it names
	Form  Form     // how it stands
	Words []string // the words that are allowed; none: any
	Label string   // how help shows the value; empty: Name in capitals
}

// Verb is one command.
type Verb struct {
	Name    string // its words, with one blank between
	Args    []Arg
	Help    string // one sentence
	Detail  string // what more a manual says
	Example string // a line that can be pasted into /ctl/ctl
}

// synopsis shows an argument as help does.
func (a Arg) synopsis() string {
	label := a.Label
	if label == "" {
		label = strings.ToUpper(a.Name)
	}
	if len(a.Words) > 0 {
		label = strings.Join(a.Words, "|")
	}
	switch a.Form {
	case Optional:
		return "[" + label + "]"
	case Rest:
		return "[" + label + " ...]"
	case Option:
		return "[" + a.Name + "=" + label + "]"
	case Flag:
		return "[" + a.Name + "]"
	default:
		return label
	}
}

// Synopsis is the verb with its arguments, optional ones in brackets.
func (v *Verb) Synopsis() string { return v.Name + synopses(v.Args) }

func synopses(args []Arg) string {
	var b strings.Builder
	for _, a := range args {
		b.WriteByte(' ')
		b.WriteString(a.synopsis())
	}
	return b.String()
}

// object is the index of the argument that the ctl file of an object of this
// kind supplies; -1 if the verb has none.
func (v *Verb) object(k Kind) int {
	for i, a := range v.Args {
		if a.Kind == k && (a.Form == Required || a.Form == Optional) {
			return i
		}
	}
	return -1
}

// Verbs returns the table of commands, in the order of the manual.
func Verbs() []Verb { return append([]Verb(nil), table...) }

// Lookup returns the verb of that name, nil if there is none.
func Lookup(name string) *Verb {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}
