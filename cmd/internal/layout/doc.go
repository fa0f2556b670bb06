// Package layout holds no code, only the tests that keep the repository in
// its shape: which folders there are, and who may import whom.
package layout
