// Package replica brings what a peer's copy of a volume has and knows into
// the copy here, and then the content that it refers to.
//
// A pull asks for the root directory, joins it by the rules of package merge,
// and goes on with those directories below it in which the peer knows
// something that is not known here, breadth first, with many directories
// asked for in one call and several calls under way, so that a long way to
// the peer is filled. Each directory is joined by one vol.Volume.Apply, all or
// nothing; a large one comes in pieces, and each of these is. When everything
// below a directory is done it is finished (vol.Volume.Finish): from then on, all that the peer knows of that subtree
// is known here, and the next pull skips it. A pull that is cut anywhere
// leaves what it has joined; only what is not finished is looked at again.
//
// To finish a directory says that the peer's deletions, which show in its
// listing as nothing at all, were done to all names there are. That would be
// wrong for a name which another pull brought in between. So pulls into one
// volume share a Replica: they take turns at joining and finishing, each
// tells the others which directories it has changed, and a directory that was
// joined and then changed by another is asked for and joined anew before it
// is finished.
//
// A pull of one path (Options.Under) joins the directories on the way and all
// that is below it. Others are left, and so none on the way is finished.
//
// On contact with a peer that knows of changes which this replica has made
// but has no record of, or that has this replica's ID, the volume takes a new
// replica ID first: it was restored from a backup or cloned.
//
// # Cost
//
// A pull asks for the directories in which there is news, and for one level of
// them in each round trip. Of a directory it gets the names with news, where
// the peer's index of changes permits, else all, in pieces of some 2 MiB
// (vol.DirState): so the number of its names takes no memory. With 100,000
// files of 1 KiB in one directory, the sender had 386 and the receiver 702 MiB
// when it was told as a whole, now 141 and 167, and it takes half as long. With
// 1,000,000 files in one directory or in 10,000, neither has more than 190, and
// one change among them takes 29 to 43 ms from mount to mount. The pages of Bolt
// files come on top, as far as they are mapped, which store.Bolt bounds: with
// 1,000,000 files in 10,000 directories the resident memory is 213 MiB at the
// sender and 228 at the receiver, of 1,508 and 313 without that. One long
// transaction, as that of a directory of 100,000 names, may map more for its
// time.
//
// Between two servers over loopback on two cores of 2.5 GHz that do nothing
// else (TestSyncSpeed of cmd/bazil): a file of 1 GiB 1.7 to 2.5 s, as fast as the
// machine is just then, with 1.4 and 2.0 to 1.9 and 2.7 s of processor time;
// 10,000 files of 4 KiB 0.30 to 0.50 s. What bounds the large file is the
// processors, which are never idle while it moves. Of 3.0 ns a byte, in a fast
// hour and before chunks stood whole in one read, sealing and opening took 0.73,
// the hash at the receiver 0.44, the copies in the kernel 0.65 of reading, sending,
// receiving and writing, their other work about 0.6, copies of our own 0.24, which
// have gone since, and the checksums of both sides 0.13.
//
// With 50 ms of delay each way the large file took 4.0 to 4.7 s, a sixth of the
// processors being the relay's, and the small ones 1.0 s. Seven round trips pass
// until the first byte of content moves (three to connect, the questions for the
// volume and its root, and those for content); what else it costs is the time
// until the connections have their full speed.
//
// Nothing that a peer sends is believed to have the right form: names,
// versions, contexts and the shape of the tree are checked before they touch
// the volume, and a directory number may stand in one place only.
package replica
