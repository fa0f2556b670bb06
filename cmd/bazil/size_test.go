package main

import "testing"

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{
		"1": 1, "65536": 65536, "64k": 64 << 10, "512M": 512 << 20, "2G": 2 << 30, "3T": 3 << 40,
		"": 0, "M": 0, "0": 0, "-1": 0, "1.5G": 0, "12X": 0, "1MM": 0, "9999999T": 0, "9223372036854775808": 0,
	} {
		var got byteSize
		err := got.UnmarshalText([]byte(text))
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}
