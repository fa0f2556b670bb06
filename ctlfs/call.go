package ctlfs

import (
	"context"
	"fmt"
	"io"
	"strings"

	"bazil/p9srv"
)

// Handler does what a command says. It returns when that is done, or not done
// at all, and early with ctx's error when the client flushes the request.
type Handler func(ctx context.Context, c *Call) error

// Call is a command as a handler gets it: its arguments are all there and of
// the right number, the objects they name need not exist.
type Call struct {
	Verb *Verb
	User p9srv.User // who wrote the command
	Out  io.Writer  // what the client reads back when the command succeeds

	args map[string][]string // by Arg.Name
}

// Arg returns the argument of that name, "" if it was left out.
func (c *Call) Arg(name string) string {
	if v := c.args[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Rest returns the tokens of a Rest argument.
func (c *Call) Rest(name string) []string { return c.args[name] }

// Has tells whether an argument, an option or a flag was given.
func (c *Call) Has(name string) bool {
	_, ok := c.args[name]
	return ok
}

// Printf writes to Out.
func (c *Call) Printf(format string, args ...any) { fmt.Fprintf(c.Out, format, args...) }

// Records writes records to Out, one a line.
func (c *Call) Records(records []Record) { c.Out.Write(lines(records)) }

// run executes one line in scope s, and returns what it put out.
func (fs *FS) run(ctx context.Context, who p9srv.User, s scope, line string) (out pages, err error) {
	call, err := parse(s, line)
	if err != nil || call == nil {
		return nil, err
	}
	call.User, call.Out = who, &out
	err = fs.handle(ctx, call)
	if err != nil {
		return nil, asError(err)
	}
	return out, nil
}

func (fs *FS) handle(ctx context.Context, c *Call) error {
	if c.Verb.Name == "help" {
		_, err := io.WriteString(c.Out, Help(c.Rest("word")...))
		return err
	}
	h := fs.o.Handlers[c.Verb.Name]
	if h == nil {
		return Errorf(errNoHandler, "%s is not served here", c.Verb.Name)
	}
	return h(ctx, c)
}

// Help returns the commands that begin with these words, with their one
// sentence each; a single one with its whole description.
func Help(words ...string) string {
	prefix := strings.Join(words, " ")
	var found []*Verb
	for i := range table {
		if v := &table[i]; v.Name == prefix || prefix == "" || strings.HasPrefix(v.Name, prefix+" ") {
			found = append(found, v)
		}
	}
	var b strings.Builder
	for _, v := range found {
		fmt.Fprintf(&b, "%s\n\t%s\n", v.Synopsis(), v.Help)
		if len(found) == 1 {
			b.WriteString(detail(v))
		}
	}
	if len(found) == 0 {
		fmt.Fprintf(&b, "no command begins with %s\n", Quote(prefix))
	}
	return b.String()
}

// detail is what help for one verb adds.
func detail(v *Verb) string {
	var b strings.Builder
	for line := range strings.Lines(v.Detail) {
		b.WriteString("\t" + strings.TrimSuffix(line, "\n") + "\n")
	}
	fmt.Fprintf(&b, "\tExample: %s\n", v.Example)
	return b.String()
}
