//go:build !race

package fusemount

const withRace = false
