// Command bazil keeps volumes of files on several machines, and shows them
// and itself as one 9P tree.
//
// Every command but create, pubkey, debug, server run and up asks the server
// that runs on the data directory, by writing a line to its ctl file over 9P;
// ctlfs has the manual. Errors go to the standard error with exit status 1,
// those of usage with 2.
package main

import "os"

func main() { os.Exit(run(os.Args[1:])) }
