//go:build race

package p9srv_test

// raceEnabled is true where sync.Pool drops things at random.
const raceEnabled = true
