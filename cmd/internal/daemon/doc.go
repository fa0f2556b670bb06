// Package daemon is the bazil server: it opens a data directory, owns
// everything that runs on it, wires it together, and closes it.
//
// # What it owns
//
//	store        the data directory: keys, configuration, chunks
//	volumes      metadata, <dir>/volumes/ID.db, and a log, ID.log, of each (package vol)
//	listener     Noise connections of peers; each is served the tree its key may see
//	links        connections to peers, made when something wants one
//	feeds        what volumes follow: they wait for changes at peers and pull them
//	exports      9P listeners, <dir>/9p.sock (mode 0600) the first of them
//	ctl          the control directory that all of them show
//
// Start opens them in this order and Close closes them in the opposite one;
// what a command does runs in the goroutine of the 9P request that carried it.
//
// # Configuration
//
// Peers, volumes and exports are records in the data directory's config.db.
// That is the only place where they are: every question is asked there, every
// change is one transaction that checks what it depends on itself, so a
// command is done wholly or not at all, in whatever order commands come and
// wherever a crash falls. No mutex is held around a transaction.
//
//	table     key            record
//	peers     public key     name, location, storage and volumes allowed
//	volumes   name           ID, number, sharing key's name, storage, origin
//	replicas  replica's ID   volume, key of its device, whether that was only heard
//	exports   name           dial string, options
//	counters  what           the last number given out
//	schedules volume's name  how many snapshots to keep, of each kind
//	upkeep    usage          what the last collection counted
//	          scrub          how far a scrub is, or what the last one found
//	          auto           whether the server collects by itself
//
// A volume's file is made before its record and deleted after it. A file
// without a record is a volume that was removed but not deleted (volume
// restore brings it back), or one whose making was cut short.
//
// # Whose version
//
// The versions of a conflict are called by the device that made them. A device
// tells its peers which replica is its own, and passes on what it was told of
// others; what a device says of itself counts more, and the first word counts.
// A peer that lies about it can mislabel versions, and nothing else.
//
// # Content
//
// What a pull brings in refers to content that may not be here. A command that
// waits for it fetches it itself, a feed that of what it brings, and a volume's
// keeper what is left. Content of a lazy volume is fetched when it is read or
// pinned. Nothing that is here is ever dropped for being elsewhere too: a peer
// can lose or collect what it has at any time, and there is no promise between
// devices to keep a chunk.
//
// # Upkeep
//
// Snapshots by schedule are made by the clock, looked at every minute; their
// names (auto- and the time) are what tells them from others, so one that is
// renamed is kept for good. A collection marks what all volumes refer to, also
// those that were removed and can be restored, and frees nothing if one cannot
// be read. It is the user's to start unless store auto is on: a data directory
// into which the chunks of a backup were copied, and no volume yet, is all
// garbage to it. Damage that a read meets is told in the log and repaired from
// a peer, by the read itself if one answers, else by a goroutine that tries
// again.
package daemon
