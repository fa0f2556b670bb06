package ctlfs

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the list of commands in doc.go from the table")

const (
	manualBegin = "// This list is checked against the table that the parser uses.\n//\n"
	manualEnd   = "// # EXAMPLES\n"
)

// manual is the list of commands as doc.go has it.
func manual() string {
	var b strings.Builder
	for _, v := range Verbs() {
		b.WriteString("\t" + v.Synopsis() + "\n\n")
		b.WriteString(v.Help + "\n")
		if v.Detail != "" {
			b.WriteString(v.Detail + "\n")
		}
		b.WriteString("\n")
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(strings.TrimRight("// "+line, " \n") + "\n")
	}
	return strings.ReplaceAll(out.String(), "// \t", "//\t")
}

func TestTheManualHasEveryCommand(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(doc), manualBegin)
	list, tail, ok2 := strings.Cut(rest, manualEnd)
	if !ok1 || !ok2 {
		t.Fatal("doc.go has lost the place of the list of commands")
	}
	if list == manual() {
		return
	}
	if !*update {
		t.Fatal("doc.go tells other commands than the table: run go test ./ctlfs -run Manual -update")
	}
	if err := os.WriteFile("doc.go", []byte(head+manualBegin+manual()+manualEnd+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
