// Package merge holds the rules by which the replicas of a tree of files come
// to agree, whoever hears of what from whom and in whatever order, and by
// which they see that there is nothing to tell. It is pure: no I/O, no clock,
// no goroutines. Volumes store its types and call it inside a transaction,
// pulls carry them from one replica to another, and the simulator in its
// tests uses the same code.
//
// The idea comes from the vector time pairs of Cox and Josephson (File
// Synchronization with Vector Time Pairs, MIT 2005); the form is that of an
// observed-remove set. What is different from the former is said below where
// it matters.
//
// # Words
//
// A replica is one copy of a volume. A Dot names one change that it made. A
// Context is a set of dots that with each change of a replica has all its
// earlier ones; to know a change is to have it in the context that counts at
// that place. A dot is durable before anyone hears of it. One dot may stand
// for changes of many names that are committed together, since nobody hears
// of some of them without the others.
//
// # Names
//
// A name is an Entry: the Versions alive, the attribute settings alive, and
// its context, which is the directory's (View.Ctx) and what Entry.Ctx has
// beyond that. There are no tombstones: that a name was deleted shows in that
// its versions are not there while the context has their dots. Where the
// directory's context does not have them, Entry.Ctx does, and such an entry
// without versions (a ghost) goes as soon as the directory's context covers
// it.
//
// Every change of a name spends a dot:
//
//	Put      a version is written; it supersedes the versions its writer saw
//	Delete   versions are removed, those that were seen
//	SetAttr  the attributes are set; this replaces all settings alive
//	Touch    a version's modification time is set; the later stamp wins
//	Settle   the settings of an absent name go; see below
//
// Join keeps a version that both sides have, or that one side has and the
// other does not know; the context is the union of both. More than one
// version is a conflict, if they differ. It is in the set, so it reaches
// every replica, shows the same siblings on all of them, and ends when
// somebody writes a version that has seen them. Resolving is a change like
// others: two that resolve differently are in conflict again, and none of
// their choices is lost.
//
// What comes of two changes that did not know of each other:
//
//	edit, edit            both versions, a conflict unless they are equal
//	kind, edit            both versions: that the name became a symlink, say, is one
//	delete, create again  the new one
//	delete of what was made a directory, or the reverse: what was made
//	create, create        the same; a directory and a directory are equal
//	edit, delete          the edited version
//	edit, chmod           the edited version with the new mode
//	chmod, chmod          the later one by its stamp
//	chmod, delete         nothing
//	file, directory       the name shows the directory, the file is a sibling
//	rename, edit          the new name, and the old one with the edited version
//	rename, rename        both new names
//	renames to one name   both versions, a conflict
//	rename, delete        the new name
//	rename of a directory, edit in it   the new directory as it was, and the old
//	                      one with the edited file
//	delete of a directory, change in it   the directory, with what changed in it
//	directories moved into each other     both as they were moved; no cycle, as a
//	                      move makes all names anew at the other place
//
// Package merge/replica tests each line at three replicas, in many orders of
// pulls.
//
// # Equal content
//
// Two replicas that write the same (they import the same files, say) make two
// versions with equal Content. That is no conflict, and whoever deletes or
// edits the name has seen both (Entry.Equal); one who had heard of one of them
// only leaves the other, which was written without knowing of his change. A
// Put takes the place of what is equal to it, seen or not: nothing is lost
// with that.
//
// They do not become one version with two dots that dies with either. That would
// keep a file that two imported from coming back when it is deleted by one who
// has heard of one import only, but it can lose it. Let both have x, under
// dots a and b. The one writes x again, as a', after something else, and then
// hears of b; the other writes b', and hears of a. With a' and b one, and b'
// and a, each takes away what the other has: all is gone that nobody deleted.
// Three devices that wrote the same into one file at a time, following each
// other, lost its name in one of four runs; renames, which write all
// versions of a name anew, make it likelier.
//
// # Names with many versions
//
// A rename takes all versions of a name along, those too that nobody looked at,
// and a version leaves only with one who has seen it. Where devices write and
// rename at random and nobody resolves, names therefore gather versions, almost
// all of them different: 54 at one name after 1,277 contents written at three
// devices, 1,076 after 35,000. There is no way to drop any of them without
// losing what somebody wrote. In particular, that a later version is of the same
// replica says nothing: a rename gives versions of all devices the dots of one,
// and who wrote the later one had another before him. Nor do equal ones help,
// which are few, and for which the above holds.
//
// So that no name grows until it cannot be stored or told, a replica that comes
// to have more versions of one than it wants to (Entry.Surplus) gives the oldest
// names of their own beside it, as one who resolves and keeps both does:
// changes like others, a Put there and a Delete here of the versions that
// went. Nothing is lost by that, as each content has a name before it leaves this
// one. It ends, since it makes no version of the name, so that each time there
// are fewer. Two that do it at once agree where they name a content alike, and
// have it under two names where they do not. The newest, what the name shows
// there, a directory, and what a writer has before him stay.
//
// # Attributes
//
// Mode, owner and extended attributes belong to the name, so that a chmod and
// an edit go together, and never conflict. Each setting lives under dots of
// its own, as versions do, and the one with the highest stamp counts. A Put
// carries the setting that counts on under its own dot, which is why a file
// that survives a deletion keeps its attributes. A setting that survives the
// name (chmod, delete) is removed by Settle. A single last-writer-wins
// register, dropped with the name, would not do: a setting of a file long
// deleted could come back to a new one at some replicas and not at others.
// Stamps are moved past what they replace, so that a slow clock loses only to
// settings that its owner had not seen.
//
// # Directories
//
// A place in the tree that has, or had, names in it has a Dir. It never moves:
// a directory is renamed by making its names anew at the other place. A
// directory exists if it has a version or if something below it exists.
//
//	Ctx    all changes of it are known here, at this directory's names and below.
//	       What counts is the union with those of all directories above and the
//	       replica's own dot: View.Ctx.
//	Max    covers every change known here that was made at or below its names,
//	       deletions included; it may have more.
//	Gone   the part of Max that is about places that have no Dir any more.
//	Whole  the part of Max that the index of changes does not tell.
//
// A pull of a directory from a peer:
//
//   - If the peer's Max is covered by Ctx here, there is nothing to learn from
//     the whole subtree (View.Knows).
//   - Else its names are joined with those here, in one transaction (Meeting,
//     Dir.Apply), or those of a large one range by range, each in one. A name
//     in a full listing's place that is not there is absent, under the peer's
//     View.Ctx. Max takes in the peer's, here and in all directories above,
//     finished or not: whoever pulls from here must see that there is something.
//   - Then each directory below, on either side, is skipped or pulled. One that
//     the peer lacks is joined with nothing, under View.Lacking; one that is
//     lacking here gets a Dir (View.NewDir).
//   - When all of them are done, and not before, Ctx takes in the peer's as it
//     was when the first name was read (Dir.Finish): a cut pull leaves names
//     joined, but claims nothing. If another pull has changed names between
//     Apply and Finish, they are joined again.
//
// Knowledge must stay whole: who takes in the knowledge of a change must know
// what that change had seen. That is why a ghost is taken over though nothing
// visible comes of it, why all names are joined before Ctx is raised, and why
// an entry that is joined for itself (a pull of a path) gets the peer's
// context as its own.
//
// A Dir that has no entries and no subdirectories left is forgotten when the
// directory above knows as much (View.Removable, Dir.Remove).
//
// The index of changes lets one change among many names be told without a
// listing of all; its rules stand at Dir.Partial.
//
// # Why replicas agree
//
// Take all changes of one name, in an order in which each comes after what it
// had seen. For every set K of them that with a change has what it had seen,
// there is one outcome: the versions written in K, without those that K
// supersedes; and the settings made or carried on in K without those K has
// replaced or removed. A state is always the outcome of the set its context
// names, and Join of the outcomes of K and L is the outcome of their union: a
// version is in it exactly if neither side has superseded it, and a superseded
// dot shows on the side that knows of it as known and not there.
// So Join is commutative, associative and idempotent, and two replicas that
// know the same changes have the same. The rules for directories do nothing
// but skip joins that change nothing, and state knowledge that follows from
// joins that were done.
//
// The simulator checks just this after every step of random histories, against
// a reference that has the changes and works out the outcomes.
//
// # Copies that were restored or cloned
//
// A replica that was put back to an earlier state would name new changes with
// dots it had used before. So it takes a new ID as soon as it meets a peer that
// knows of more of its changes than it does, or that has its ID; its Ctx takes
// in its old dot, and it hears of its own forgotten changes as of anyone's.
// A copy that writes before it meets anybody cannot be told from the original:
// whoever can notice earlier that a volume's file was copied renews it then.
// IDs that are no longer in use stay in contexts; they cost some bytes. What a
// replica that never returns has told in part, by a pull that was cut, stays
// known in part: those directories are looked at again in each pull.
//
// # Encodings
//
// There are none here. What of Entry and Dir is stored is drawn in store/vol,
// in its records and directory records; what goes from peer to peer, in
// noiseconn/peer. Both check what they read by Validate and Valid.
package merge
