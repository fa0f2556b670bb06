package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a number of bytes on the command line: 512M, 2G, 65536.
type byteSize int64

// sizeUnits are the letters behind a number, each 1024 times the one before.
const sizeUnits = "KMGT"

// UnmarshalText takes a size of at least one byte.
func (b *byteSize) UnmarshalText(text []byte) error {
	s, shift := strings.ToUpper(string(text)), 0
	if n := len(s) - 1; n > 0 {
		if i := strings.IndexByte(sizeUnits, s[n]); i >= 0 {
			s, shift = s[:n], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return fmt.Errorf("%q is not a size such as 512M or 2G", text)
	}
	*b = byteSize(n << shift)
	return nil
}
