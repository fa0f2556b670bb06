// Package store is a data directory: its keys, its configuration, and the
// chunks that all its volumes share.
package store
