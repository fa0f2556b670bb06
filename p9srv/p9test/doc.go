// Package p9test is for tests of what speaks 9P: messages as text, conversations
// to be played against a server, and streams of messages to try it with.
//
// A message is a name and fields, as in
//
//	Twalk tag=1 fid=1 newfid=2 names=a,b
//
// Numbers are decimal, octal (0644) or hexadecimal; strings are quoted as Go
// quotes them where they hold blanks, quotes, commas or what does not print.
// layout.go lists the fields. A conversation is a file that Play reads.
package p9test
