//go:build !race

package p9srv_test

const raceEnabled = false
