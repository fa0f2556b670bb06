package main

import (
	"strings"

	"github.com/alecthomas/kong"
)

// longFlags lets long flags be written with one dash, as Go programs take
// them: -data-dir=PATH becomes --data-dir=PATH if there is a flag data-dir.
// What stands behind -- is left alone.
func longFlags(app *kong.Application, args []string) []string {
	known := make(map[string]bool)
	flagNames(app.Node, known)
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		if a == "--" {
			copy(out[i:], args[i:])
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "-"), "=")
		if strings.HasPrefix(a, "-") && known[name] {
			out[i] = "-" + a
		}
	}
	return out
}

// flagNames collects the names of more than one letter of all flags at n and
// below.
func flagNames(n *kong.Node, known map[string]bool) {
	for _, f := range n.Flags {
		if len(f.Name) > 1 {
			known[f.Name] = true
		}
	}
	for _, c := range n.Children {
		flagNames(c, known)
	}
}
