//go:build !race

package merge

// raceDetector says whether this test was built with -race.
const raceDetector = false
