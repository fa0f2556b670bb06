//go:build race

package fusemount

// withRace: the race detector makes everything ten times slower.
const withRace = true
