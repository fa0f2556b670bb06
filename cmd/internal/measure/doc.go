// Measure prints what this machine makes of whole runs: a tree of files taken
// in and given back, and a volume of a million files. Benchmarks beside the
// code measure its parts.
//
//	measure ingest [-by proc|9p] [-dir DIR] [-workers N] [-profile DIR] SOURCE
//	measure million [-dir DIR] [-files N] [-server BAZIL]
//
// ingest runs a server on a new data directory below DIR and copies the tree
// SOURCE into a volume: through package vol in the server's process (proc), or
// through the server's socket (9p). It prints seconds, MB/s and the bytes in
// the data directory after each step:
//
//	first    the whole tree, until it is durable
//	second   again, by comparing sizes and times, as rsync does
//	again    again, written over what is there, as cp does
//	dup      under another name
//	edit     the largest file with 100 bytes inserted in its middle, under another name
//	restore  everything of first, read by a server that has just started, written to files
//
// With -profile, a processor profile of each step is left in the folder DIR.
//
// million makes a volume of N files in directories of 10,000, then starts the
// program BAZIL on it and prints what a client sees: how long the server takes
// to start, to list a directory and to walk the whole tree, a snapshot, one
// after a file was changed, and the server's memory.
//
// All that either makes is removed at the end.
package main
