package main

import (
	"strings"
	"testing"
)

func TestSizeForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 10234: "9.99 KiB", 10240: "10.0 KiB", 102348: "99.9 KiB", 102400: "100 KiB",
		1023487: "999 KiB", 1023488: "0.98 MiB", 3 << 30: "3.00 GiB", 1<<63 - 1: "8.00 EiB", -5: "-5 B",
	} {
		if got := sizeForPeople(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestCountForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -123: "-123", -1234: "-1,234"} {
		if got := countForPeople(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

var unknownKey = strings.Repeat("0123456789abcdef", 4)

var someRecords = `device=ab12 dir='/a dir' started=2026-01-02T03:04:05.678Z
store=local chunks=17000 bytes=1234567890 auto=off
peer=weiß key=8f link=none problem='no answer from ''` + "\x1b[2J\u202e" + `'''
peer=b key=9a location=192.0.2.1:1 link=up
volume='my photos' id=00 storage='local peerkey:9a peerkey:` + unknownKey + `' keep=all files=1234567 bytes=0
volume=n id=01 storage=local keep=lazy state=new
`

// What somebody else named or said must not reach the terminal as a command.
func TestRecordsForPeople(t *testing.T) {
	t.Setenv("TZ", "UTC")
	records, err := parseRecords(someRecords)
	must(t, err)
	var out strings.Builder
	must(t, printRecords(&out, records, hiddenInStatus))
	const want = `DEVICE ab12
  dir      /a dir
  started  2026-01-02 03:04:05

STORE local
  chunks  17,000
  bytes   1.15 GiB
  auto    off

PEER  LINK  LOCATION
weiß  none  -
  problem: no answer from '\x1b[2J\u202e'
b     up    192.0.2.1:1

VOLUME     STORAGE                   KEEP  FILES      BYTES  STATE
my photos  local b 0123456789abcdef  all   1,234,567  0 B    -
n          local                     lazy  -          -      new
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestStatusAsJSON(t *testing.T) {
	records, err := parseRecords("volume=12 files=3 bytes=4 keep=5 new=6\n")
	must(t, err)
	var out strings.Builder
	must(t, printJSON(&out, records))
	const want = `[
  {
    "bytes": 4,
    "files": 3,
    "keep": "5",
    "kind": "volume",
    "name": "12",
    "new": "6"
  }
]
`
	if out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}
