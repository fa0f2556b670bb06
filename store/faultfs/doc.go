// Package faultfs is a disk that crashes and fails, for the tests of packages
// store and vol. It stands below them where the operating system's files are:
// as a Disk that is called directly, or mounted (Mount), for what wants real
// files.
//
// A Disk is a file system in memory that keeps what is on disk apart from what
// processes see. A crash takes it to a state that a disk may be in: each 512
// byte sector written since the file's last Sync is there or not, each name
// changed since its directory's is, too. Any call can be made to fail. A Sync
// that fails puts some sectors on disk and forgets the rest, while processes
// go on seeing them: that is what Linux does.
package faultfs
