//go:build race

package main

// raceEnabled is true where everything takes many times as long.
const raceEnabled = true
