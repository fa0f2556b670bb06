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
// By 9P the first step has about 77% of the rate that it has in the process, on two
// processors: of random data, 1 GiB, 352 to 398 MB/s of 448 to 521 in three rounds
// (4.3 s of processor time, 3.8 in the process), of Go's own source, 103 to 114 MB/s of 132
// to 146 in five (2.0 s, 1.6). Other rounds, beside slower moments of the machine, had
// 63 to 100% of random data, and one of the source 46%. What 9P adds is the two
// copies of the socket; the rest of the difference is that a writer waits for each
// answer. Of the 3.8 s, 2.1 are sealing and appending, 0.7 copying into chunks that stay in the cache, whose
// memory is new as long as the cache is not full, 0.3 splitting and 0.3 reading
// the source.
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
