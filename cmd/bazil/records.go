package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"bazil/ctlfs"
)

// recordForm is the flags of a command whose answer is records.
type recordForm struct {
	Records bool `xor:"form" help:"Print the records of the server's answer, one a line."`
	JSON    bool `name:"json" xor:"form" help:"Print an array of the records as objects."`
}

// Help tells about the forms.
func (recordForm) Help() string {
	return "Without a flag the answer is for people, and its form may change. Programs read the records, attr=value fields quoted " +
		"as rc does, whose first field says what a record is of and names it; or, with --json, objects in which " +
		"kind and name stand for that first field, and sizes, in bytes, and counts are numbers. Fields may be " +
		"added to both."
}

// list shows the answer to a command with all its fields.
func (f recordForm) list(g *Globals, tokens ...string) error { return f.show(g, nil, tokens...) }

// show asks the server and prints its answer, for people without the hidden
// fields, which are by the kind of record.
func (f recordForm) show(g *Globals, hidden map[string]map[string]bool, tokens ...string) error {
	answer, err := g.ask(ctlfs.Join(tokens))
	if err != nil {
		return err
	}
	return f.print(answer, hidden)
}

// print prints an answer that is records.
func (f recordForm) print(answer string, hidden map[string]map[string]bool) error {
	if f.Records {
		_, err := io.WriteString(os.Stdout, answer)
		return err
	}
	records, err := parseRecords(answer)
	if err != nil {
		return err
	}
	if f.JSON {
		return printJSON(os.Stdout, records)
	}
	return printRecords(os.Stdout, records, hidden)
}

// parseRecords reads an answer that is records, one a line.
func parseRecords(answer string) (records []ctlfs.Record, err error) {
	err = eachRecord(strings.NewReader(answer), func(r ctlfs.Record) error {
		records = append(records, r)
		return nil
	})
	return records, err
}

// eachRecord calls each with the records of an answer.
func eachRecord(answer io.Reader, each func(ctlfs.Record) error) error {
	lines := bufio.NewReaderSize(answer, 32<<10)
	for {
		line, failed := readRecord(lines)
		if failed != nil && failed != io.EOF {
			return failed
		}
		r, err := ctlfs.ParseRecord(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return fmt.Errorf("the server's answer: %w", err)
		}
		if len(r) > 0 {
			if err := each(r); err != nil {
				return err
			}
		}
		if failed != nil {
			return nil
		}
	}
}

// readRecord reads the line of a record, which goes on behind a newline in
// quotes: a name may have one.
func readRecord(lines *bufio.Reader) (record string, err error) {
	for {
		line, err := lines.ReadString('\n')
		record += line
		if err != nil || strings.Count(record, "'")%2 == 0 {
			return record, err
		}
	}
}

// The fields whose value is a number: of bytes, or of things.
var (
	sizeFields  = fieldSet("bytes dirty disk logical unique stored dead free copied freed live-bytes dead-bytes would-free")
	countFields = fieldSet("chunks segments damaged files dirs conflicts snapshots conns changed missing done repaired live-chunks dead-chunks stuck")
)

// single is the kinds of record that an answer has one of.
var single = fieldSet("device store collect scrub repair")

// sentenceFields are too long for a column.
var sentenceFields = fieldSet("error problem")

func fieldSet(names string) map[string]bool {
	set := map[string]bool{}
	for _, n := range strings.Fields(names) {
		set[n] = true
	}
	return set
}

// printJSON prints records as objects.
func printJSON(w io.Writer, records []ctlfs.Record) error {
	all := []map[string]any{}
	for _, r := range records {
		object := map[string]any{"kind": r[0].Name, "name": r[0].Value}
		for _, f := range r[1:] {
			object[f.Name] = f.Value
			if n, err := strconv.ParseInt(f.Value, 10, 64); err == nil && (sizeFields[f.Name] || countFields[f.Name]) {
				object[f.Name] = n
			}
		}
		all = append(all, object)
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(all)
}

// printRecords prints records for people: what there is one of with a line for
// each field, the others as a table for each kind.
func printRecords(w io.Writer, records []ctlfs.Record, hidden map[string]map[string]bool) error {
	var out strings.Builder
	nameKeys(records)
	for _, kind := range byKind(records) {
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		if name := kind[0][0].Name; single[name] {
			writeList(&out, kind[0])
		} else {
			writeTable(&out, kind, hidden[name])
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// nameKeys puts the peers' names where volumes' storage has their keys, and the
// beginning of the key for one who is no peer.
func nameKeys(records []ctlfs.Record) {
	names := map[string]string{}
	for _, r := range records {
		if r[0].Name == "peer" {
			names[r.Get("key")] = r[0].Value
		}
	}
	for _, r := range records {
		for i, f := range r {
			if r[0].Name != "volume" || f.Name != "storage" {
				continue
			}
			words := strings.Fields(f.Value)
			for j, w := range words {
				if key, ok := strings.CutPrefix(w, "peerkey:"); ok {
					words[j] = cmp.Or(names[key], key[:min(len(key), 16)])
				}
			}
			r[i].Value = strings.Join(words, " ")
		}
	}
}

// byKind puts records of a kind together, kinds in the order they come in.
func byKind(records []ctlfs.Record) (kinds [][]ctlfs.Record) {
	at := map[string]int{}
	for _, r := range records {
		i, ok := at[r[0].Name]
		if !ok {
			i = len(kinds)
			at[r[0].Name] = i
			kinds = append(kinds, nil)
		}
		kinds[i] = append(kinds[i], r)
	}
	return kinds
}

// writeList writes a line for each field of a record.
func writeList(out *strings.Builder, r ctlfs.Record) {
	fmt.Fprintf(out, "%s %s\n", strings.ToUpper(r[0].Name), printable(r[0].Value))
	var rows [][]string
	for _, f := range r[1:] {
		rows = append(rows, []string{"  " + f.Name, forPeople(f)})
	}
	widths := columnWidths(rows)
	for _, row := range rows {
		writeRow(out, row, widths)
	}
}

// writeTable writes records of a kind as the rows of a table, and what a
// record says in sentences below its row.
func writeTable(out *strings.Builder, records []ctlfs.Record, hidden map[string]bool) {
	columns := columnsOf(records, hidden)
	rows := [][]string{make([]string, len(columns))}
	for i, name := range columns {
		rows[0][i] = strings.ToUpper(name)
	}
	for _, r := range records {
		row := make([]string, len(columns))
		for i, name := range columns {
			row[i] = forPeople(ctlfs.Field{Name: name, Value: r.Get(name)})
		}
		rows = append(rows, row)
	}
	widths := columnWidths(rows)
	writeRow(out, rows[0], widths)
	for i, r := range records {
		writeRow(out, rows[i+1], widths)
		for _, f := range r {
			if sentenceFields[f.Name] {
				fmt.Fprintf(out, "  %s: %s\n", f.Name, printable(f.Value))
			}
		}
	}
}

// columnsOf is the fields of records that a table shows.
func columnsOf(records []ctlfs.Record, hidden map[string]bool) (names []string) {
	seen := map[string]bool{}
	for _, r := range records {
		for _, f := range r {
			if !seen[f.Name] && !sentenceFields[f.Name] && !hidden[f.Name] {
				names = append(names, f.Name)
			}
			seen[f.Name] = true
		}
	}
	return names
}
