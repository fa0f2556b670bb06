//go:build race

package store

// raceEnabled: the race detector makes pools forget, which changes allocations.
const raceEnabled = true
