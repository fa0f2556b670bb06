// Package replica brings what a peer's copy of a volume has and knows into
// the copy here, and then the content that it refers to.
//
// A pull asks for the root directory, joins it by the rules of package merge,
// and goes on with those directories below it in which the peer knows
// something that is not known here, breadth first as a rule, with many directories
// asked for in one call and several calls under way, so that a long way to
// the peer is filled. Each directory is joined by one vol.Volume.Apply, all or
// nothing; a large one comes in pieces, and each of these is. When everything
// below a directory is done it is finished (vol.Volume.Finish): from then on, all
// that the peer knows of that subtree is known here, and the next pull skips it.
// A pull that is cut anywhere leaves what it has joined; only what is not finished
// is looked at again.
//
// To finish a directory says that the peer's deletions, which show in its
// listing as nothing at all, were done to all names there are. That would be
// wrong for a name which another pull brought in between. So pulls into one
// volume share a Replica: they take turns at joining and finishing, each
// tells the others which directories it has changed, and a directory that was
// joined and then changed by another is asked for and joined anew before it
// is finished. So is one below which the place of a directory was forgotten
// meanwhile, which is then made anew if there is news for it.
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
// Directories that wait to be asked for are in memory. Those found first are
// asked for first, unless 16,384 wait: then those found last, so that of a tree
// hardly more wait. Only directories that stand in one can be more. Beyond
// 1,048,576 that wait, and 4,194,304 in all, a pull leaves the others to the next
// one and fails with ErrWide: what came in stays, and each pull brings in more, so
// that a peer which makes up directories without end takes no more memory than
// that. A million that wait take 188 MiB where the volume has three replicas, of
// which 36 are the numbers by which a directory that stands in two places is
// found: each directory of the pull takes those, whether it waits or not.
//
// Between two servers over loopback on two cores of 2.5 GHz that do nothing
// else (TestSyncSpeed of cmd/bazil): a file of 1 GiB 1.6 to 2.1 s, as fast as the
// machine is just then, with 1.2 and 1.8 to 1.5 and 2.2 s of processor time;
// 10,000 files of 4 KiB 0.30 to 0.50 s. rsync, which neither encrypts nor has
// names for content, takes 1.0 to 1.4 s for the large file in the same minutes.
// What bounds it is the processors, which are idle for 2% of the time. Of 4.7 s,
// of both sides and with the sampling, in a slow minute:
//
//	sender    0.64 sealing, 0.43 reading the file, 0.36 sending, 0.10 checksum, 0.34 all else
//	receiver  0.86 hash of the ID, 0.66 opening, 0.58 writing the file, 0.20 receiving,
//	          0.11 checksum, 0.43 all else
//
// So 3.9 are ciphers, hash, the checksums of what is stored, and the kernel's
// copies: 1.3 to 1.6 s for two cores is the least, whatever all else costs.
// Messages of 1 MiB, of one chunk each, smaller buffers, and one connection in
// place of two made no difference that can be told from the machine's. A chunk's
// checksum is looked at before it is sent, though who gets it verifies its ID: for
// 2% less a disk's damage would show at the other end only, as a lie of this
// device. Mapping segments would save the sender a copy, and end the process
// where a disk fails to read.
//
// With 50 ms of delay each way the large file takes 3.2 to 3.7 s, where the same
// relay without a delay takes 2.0 to 2.6, for its own copies: 1.5 times. Small
// files take 0.4 s more. A question for the volume, one for its root and one for
// content is a round trip each, and one more for a chunk that lists others; the
// connections for content are made meanwhile, and have 96 MiB asked for ahead.
//
// Nothing that a peer sends is believed to have the right form: names,
// versions, contexts and the shape of the tree are checked before they touch
// the volume, and a directory number may stand in one place only.
package replica
