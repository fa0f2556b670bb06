package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"bazil/ctlfs"
)

// forPeople is a field's value as people read it.
func forPeople(f ctlfs.Field) string {
	n, err := strconv.ParseInt(f.Value, 10, 64)
	switch {
	case f.Value == "":
		return "-"
	case err == nil && sizeFields[f.Name]:
		return sizeForPeople(n)
	case err == nil && countFields[f.Name]:
		return countForPeople(n)
	}
	if t, err := time.Parse(time.RFC3339Nano, f.Value); err == nil {
		return t.Local().Format(time.DateTime)
	}
	return printable(f.Value)
}

// sizeForPeople is a number of bytes with three digits and the unit that suits
// them, each 1024 times the one before.
func sizeForPeople(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 999.5 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	digits := 0
	switch {
	case f < 9.995:
		digits = 2
	case f < 99.95:
		digits = 1
	}
	return fmt.Sprintf("%.*f %ciB", digits, f, units[i])
}

// countForPeople is a number with a comma before each three digits.
func countForPeople(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// printable is s without what a terminal takes for a command: names and errors
// come from others.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// columnWidths is how wide the columns of rows are.
func columnWidths(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// writeRow writes cells with two blanks between the columns, none at the end.
func writeRow(out *strings.Builder, row []string, widths []int) {
	var line strings.Builder
	for i, cell := range row {
		line.WriteString(cell)
		line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
	}
	out.WriteString(strings.TrimRight(line.String(), " "))
	out.WriteByte('\n')
}
