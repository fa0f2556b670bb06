package ctlfs

import "slices"

// Arguments that several verbs have.
var (
	argPeer    = Arg{Name: "peer", Kind: KindPeer}
	argVolume  = Arg{Name: "volume", Kind: KindVolume}
	argBackend = Arg{Name: "backend", Kind: KindBackend}
	argNoWait  = Arg{Name: "no-wait", Form: Flag}
	argDryRun  = Arg{Name: "dry-run", Form: Flag}
	argKeep    = Arg{Name: "keep", Form: Option, Words: []string{"all", "lazy"}}
	argSharing = Arg{Name: "sharing", Kind: KindSharing, Form: Option, Label: "NAME"}
)

// table is every command there is. It is never changed.
var table = slices.Concat(mainVerbs, snapshotVerbs, storeVerbs)

// mainVerbs are the commands that have no file of their own.
var mainVerbs = []Verb{
	{
		Name: "help", Args: []Arg{{Name: "word", Form: Rest}},
		Help:    "Tell the commands that begin with these words, or all.",
		Example: "help volume storage",
	},
	{
		Name: "status",
		Help: "Tell how everything stands, one record a line.",
		Detail: "It is what the status files hold, all of them one after the other; the first\n" +
			"attribute of a record says what it is of.",
		Example: "status",
	},
	{
		Name: "sync", Args: []Arg{{Name: "volume", Kind: KindVolume, Form: Optional}, argPeer,
			{Name: "path", Kind: KindPath, Form: Option, Label: "PATH"}, argNoWait, argDryRun},
		Help: "Bring a peer's changes into the volume, or into each volume that the peer allows us.",
		Detail: "It returns when the files are here too; with no-wait, and where the volume is lazy,\n" +
			"when their names are. What was done before a failure or a cancellation stays done,\n" +
			"and the next sync goes on from there. dry-run changes nothing, and tells what would\n" +
			"change: add, change, delete or conflict, and VOLUME/PATH, one a line. With path= it\n" +
			"brings in what is at that path of the volume and below, and the other names of the\n" +
			"directories on the way; the rest comes with the next sync.",
		Example: "sync myfiles white",
	},
	{
		Name: "sync all", Args: []Arg{{Name: "volume", Kind: KindVolume, Form: Optional}, argNoWait, argDryRun},
		Help: "Sync the volume, or each, with every peer that has a location and allows it.",
		Detail: "It goes on after a failure, and fails then. A peer called all can be synced with by\n" +
			"its key.",
		Example: "sync all",
	},
	{
		Name: "sharing add",
		Args: []Arg{{Name: "name", Kind: KindNew}, {Name: "file", Kind: KindLocalFile}},
		Help: "Add a sharing key: the 32 bytes in a file on the server's machine.",
		Detail: "A key never stands in a command. To bring one in through the tree, create the\n" +
			"file sharing/NAME and write the 32 bytes to it in one write.",
		Example: "sharing add friends /home/glenda/sekrit",
	},
	{
		Name: "sharing remove", Args: []Arg{{Name: "name", Kind: KindSharing}},
		Help:    "Forget a sharing key that no volume uses.",
		Example: "sharing remove friends",
	},
	{
		Name: "sharing list", Help: "List the sharing keys and their fingerprints.",
		Example: "sharing list",
	},
	{
		Name: "peer add",
		Args: []Arg{{Name: "key", Kind: KindKey}, {Name: "name", Kind: KindNew, Form: Optional}},
		Help: "Know a peer by its public key, and by a name.",
		Detail: "It may connect from now on, but sees nothing that is not allowed to it.\n" +
			"Wherever a command takes a peer, its name and its key both do.",
		Example: "peer add 8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f white",
	},
	{
		Name: "peer rename", Args: []Arg{argPeer, {Name: "name", Kind: KindNew}},
		Help:    "Give a peer another name.",
		Example: "peer rename white snow",
	},
	{
		Name: "peer remove", Args: []Arg{argPeer},
		Help:    "Forget a peer and what it was allowed, and hang up on it.",
		Example: "peer remove white",
	},
	{
		Name: "peer list", Help: "List the peers.",
		Example: "peer list",
	},
	{
		Name: "peer location set", Args: []Arg{argPeer, {Name: "addr", Kind: KindAddr}},
		Help:    "Say at which HOST:PORT a peer's server listens.",
		Example: "peer location set white 192.0.2.42:34211",
	},
	{
		Name: "peer location clear", Args: []Arg{argPeer},
		Help:    "Forget where a peer listens.",
		Example: "peer location clear white",
	},
	{
		Name: "peer storage allow", Args: []Arg{argPeer, argBackend},
		Help: "Let a peer fetch chunks from a storage backend of this device.",
		Detail: "The one backend that can be allowed is local. Chunks are sealed: to read them\n" +
			"the peer needs the volume's sharing key and a pointer from the volume.",
		Example: "peer storage allow black local",
	},
	{
		Name: "peer storage revoke", Args: []Arg{argPeer, argBackend},
		Help:    "Take back what peer storage allow gave.",
		Example: "peer storage revoke black local",
	},
	{
		Name: "peer volume allow", Args: []Arg{argPeer, argVolume},
		Help:    "Let a peer see a volume's names and changes.",
		Example: "peer volume allow black myfiles",
	},
	{
		Name: "peer volume revoke", Args: []Arg{argPeer, argVolume},
		Help:    "Take back what peer volume allow gave.",
		Example: "peer volume revoke black myfiles",
	},
	{
		Name: "volume create", Args: []Arg{{Name: "name", Kind: KindNew}, argSharing, argKeep},
		Help:    "Make a new, empty volume, sealed under a sharing key (default: default).",
		Detail:  "keep= is as volume keep says.",
		Example: "volume create myfiles sharing=friends",
	},
	{
		Name: "volume connect",
		Args: []Arg{argPeer, {Name: "remote", Label: "NAME"}, argSharing,
			{Name: "as", Kind: KindNew, Form: Option, Label: "NAME"}, argKeep},
		Help: "Make a replica of a peer's volume, empty until the first sync.",
		Detail: "The peer is asked for the volume, so it must have a location and must allow it.\n" +
			"Both devices need the same sharing key; what it is called may differ, and as=\n" +
			"gives the volume another name here. keep= is as volume keep says.",
		Example: "volume connect white myfiles sharing=friends",
	},
	{
		Name: "volume remove", Args: []Arg{argVolume, {Name: "delete", Form: Flag}},
		Help: "Forget a volume; with delete, for good.",
		Detail: "Without the word delete its metadata stays in the data directory, in volumes/,\n" +
			"and volume restore brings the volume back.",
		Example: "volume remove myfiles delete",
	},
	{
		Name:    "volume restore",
		Args:    []Arg{{Name: "id", Label: "ID"}, {Name: "name", Kind: KindNew}, argSharing},
		Help:    "Bring back a volume that was removed without the word delete.",
		Example: "volume restore 5f1d3c4b9a8877665544332211000102 myfiles sharing=friends",
	},
	{
		Name: "volume keep", Args: []Arg{argVolume, {Name: "mode", Words: []string{"all", "lazy"}}},
		Help: "Say which content of a volume is kept here: all, or, if it is lazy, what is read or pinned.",
		Detail: "All names are here in any case. all, which is the default, fetches in the background\n" +
			"what is missing; lazy fetches content when it is read. Nothing that is here is\n" +
			"dropped: that some other device has it can change at any time.",
		Example: "volume keep myfiles lazy",
	},
	{
		Name: "volume pin", Args: []Arg{argVolume, {Name: "path", Kind: KindPath, Form: Optional}},
		Help: "Keep the content of a path of a lazy volume, and of what is below it, on this device.",
		Detail: "It is fetched in the background, now and when it changes. Without a path it is all of the\n" +
			"volume. VOLUME/PATH may be one word. A pin is of a path: it does not move with\n" +
			"a file that is renamed, here or elsewhere. What is moved to below it on this\n" +
			"device is fetched with the next sync.",
		Example: "volume pin myfiles docs",
	},
	{
		Name: "volume unpin", Args: []Arg{argVolume, {Name: "path", Kind: KindPath, Form: Optional}},
		Help:    "Take a pin away. What is here stays here.",
		Example: "volume unpin myfiles docs",
	},
	{
		Name: "volume list", Help: "List the volumes.",
		Example: "volume list",
	},
	{
		Name: "volume storage add", Args: []Arg{argVolume, argBackend, argSharing},
		Help: "Add a place to fetch the volume's chunks from, behind those it has.",
		Detail: "A backend is local or peerkey:KEY. Reads ask them in order. sharing= is a\n" +
			"check: it must name the sharing key of the volume.",
		Example: "volume storage add myfiles peerkey:8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f",
	},
	{
		Name: "volume storage remove", Args: []Arg{argVolume, argBackend},
		Help:    "Take a place away again.",
		Example: "volume storage remove myfiles peerkey:8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f",
	},
	{
		Name: "volume follow",
		Args: []Arg{argVolume, argPeer, {Name: "mode", Form: Optional, Words: []string{"on", "off"}}},
		Help: "Follow a peer's changes of the volume as they come, or, with off, no longer.",
		Detail: "The peer must have a location. While it is away it is tried again and again,\n" +
			"and what it changed meanwhile comes in when it is back. How it goes stands in\n" +
			"the volume's status.",
		Example: "volume follow myfiles white",
	},
	{
		Name: "conflicts", Args: []Arg{{Name: "volume", Kind: KindVolume, Form: Optional}},
		Help: "List the names that have several versions, of one volume or of all.",
		Detail: "Each version is a record: the file below volumes/NAME/conflicts/PATH that has its\n" +
			"bytes, the peer that made it, by name or by the beginning of its key, that key, the\n" +
			"replica, its kind, size and time; shown=yes if it is what the tree shows, and\n" +
			"content=missing if its bytes are not on this device.",
		Example: "conflicts myfiles",
	},
	{
		Name: "resolve",
		Args: []Arg{{Name: "volume", Kind: KindVolume, Form: Optional}, {Name: "path", Kind: KindPath, Label: "VOLUME/PATH"},
			{Name: "how", Words: []string{"keep", "from"}},
			{Name: "which", Label: "mine|theirs|newest|both|PEER|FILE"}},
		Help: "End conflicts: keep one version of a name, or both, or put a merged one in their place.",
		Detail: "mine is the version that the tree shows, theirs the one other, newest the one\n" +
			"that was changed last, PEER the one that a peer made; FILE is a version's name as\n" +
			"conflicts tells it. With both the newest stays and the others become files beside it,\n" +
			"NAME.conflict-TIME-REPLICA, which are called the same on whichever device that is\n" +
			"done. from FILE puts the bytes of a file on the server's machine in their place.\n" +
			"PATH may be a pattern: * and ? stand for characters of a name, [...] for one of\n" +
			"some, ** for any number of directories. It tells what was done, a line for each path.\n" +
			"A version that comes in meanwhile stays. The volume may stand before the path, as a\n" +
			"word of its own.",
		Example: "resolve myfiles/docs/plan.txt keep newest",
	},
	{
		Name: "export add",
		Args: []Arg{{Name: "name", Kind: KindNew}, {Name: "dial", Kind: KindDial},
			{Name: "volume", Kind: KindVolume, Form: Option, Label: "VOLUME[/DIR]"},
			{Name: "owner", Form: Option, Label: "UID:GID"}, {Name: "conns", Form: Option, Label: "N"},
			{Name: "ro", Form: Flag}, {Name: "noctl", Form: Flag}, {Name: "insecure", Form: Flag}},
		Help: "Serve the tree, or a part of it, on one more listener.",
		Detail: "DIAL is unix!/path, tcp!127.0.0.1!5640, vsock!5640 or fd!3. 9P knows no\n" +
			"passwords, so tcp beyond loopback is refused without the word insecure. owner=\n" +
			"shows the files of the server's user as that user's; conns= is how many connections\n" +
			"it takes at once; ro forbids changes; noctl leaves out ctl, as volume= does.",
		Example: "export add vm unix!/run/vm/9p.sock volume=myfiles ro noctl",
	},
	{
		Name: "export remove", Args: []Arg{{Name: "export", Kind: KindExport}},
		Help:    "Close an export and its connections.",
		Example: "export remove vm",
	},
	{
		Name: "export list", Help: "List the exports.",
		Example: "export list",
	},
}
