// Package replica brings what a peer's copy of a volume knows into the copy
// here.
package replica
