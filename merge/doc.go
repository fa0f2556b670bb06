// Package merge holds the rules by which replicas of a tree of files agree.
// It is pure: no I/O, no clock, no goroutines.
package merge
