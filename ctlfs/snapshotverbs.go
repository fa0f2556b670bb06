package ctlfs

// argSnapshot is a snapshot's name.
var argSnapshot = Arg{Name: "name", Label: "NAME"}

// snapshotVerbs are the commands about snapshots.
var snapshotVerbs = []Verb{
	{
		Name: "snapshot create",
		Args: []Arg{argVolume, {Name: "name", Form: Optional}},
		Help: "Keep the volume as it is now, with all that was written before.",
		Detail: "It costs what changed since the last snapshot. Without a name it is called by\n" +
			"the time. mkdir VOLUME/.snap/NAME does the same.",
		Example: "snapshot create myfiles before-the-move",
	},
	{
		Name: "snapshot list", Args: []Arg{{Name: "volume", Kind: KindVolume, Form: Optional}},
		Help:    "List the snapshots of one volume or of all, and the schedules.",
		Example: "snapshot list myfiles",
	},
	{
		Name: "snapshot remove", Args: []Arg{argVolume, argSnapshot},
		Help: "Forget a snapshot.",
		Detail: "The space that only it took comes back with the next store collect. rmdir\n" +
			"VOLUME/.snap/NAME does the same.",
		Example: "snapshot remove myfiles before-the-move",
	},
	{
		Name: "snapshot rename", Args: []Arg{argVolume, argSnapshot, {Name: "new", Label: "NEW"}},
		Help:    "Give a snapshot another name; one of a schedule is kept for good from then on.",
		Example: "snapshot rename myfiles auto-20261126T130000Z thanksgiving",
	},
	{
		Name: "snapshot diff",
		Args: []Arg{argVolume, {Name: "from", Label: "A"}, {Name: "to", Label: "B", Form: Optional}},
		Help: "Tell in what two snapshots differ, or one and the volume as it is now.",
		Detail: "A record begins with added=, removed=, changed= or renamed= and the path. It\n" +
			"costs what differs: what both share is not looked at.",
		Example: "snapshot diff myfiles before-the-move",
	},
	{
		Name: "snapshot restore",
		Args: []Arg{argVolume, argSnapshot, {Name: "path", Kind: KindPath, Form: Option},
			{Name: "to", Kind: KindPath, Form: Option, Label: "PATH"}, {Name: "exact", Form: Flag}},
		Help: "Bring a snapshot, or one path of it, back into the volume.",
		Detail: "No content is copied. It comes to where it was, or to the path given with to=.\n" +
			"If anything there is replaced, the volume is kept before in a snapshot whose\n" +
			"name begins with before-restore-. What the snapshot does not have stays; with\n" +
			"exact it is removed.",
		Example: "snapshot restore myfiles before-the-move path=docs/plan.txt to=docs/old-plan.txt",
	},
	{
		Name: "snapshot schedule",
		Args: []Arg{argVolume, {Name: "hourly", Form: Option, Label: "N"}, {Name: "daily", Form: Option, Label: "N"},
			{Name: "weekly", Form: Option, Label: "N"}, {Name: "off", Form: Flag}},
		Help: "Make snapshots by the clock and keep so many of them; alone, tell the schedule.",
		Detail: "The newest snapshot of each of the last N hours, days and weeks that have one\n" +
			"is kept, others that the schedule made are removed. Their names begin with\n" +
			"auto-; no other snapshot is ever removed. What was missed while the server did\n" +
			"not run is made up for by one when it starts.",
		Example: "snapshot schedule myfiles hourly=24 daily=7 weekly=8",
	},
	{
		Name: "snapshot pointer", Args: []Arg{argVolume, argSnapshot},
		Help: "Tell a snapshot's pointer: with it and the sharing key the chunks are all it takes.",
		Detail: "The pointer is sealed under the sharing key and of no use without it.\n" +
			"snapshot import makes a volume of it.",
		Example: "snapshot pointer myfiles before-the-move",
	},
	{
		Name: "snapshot import",
		Args: []Arg{{Name: "pointer", Label: "POINTER"}, {Name: "name", Kind: KindNew}, argSharing,
			{Name: "storage", Kind: KindBackend, Form: Option, Label: "BACKEND"}},
		Help: "Make a new volume of the snapshot that a pointer leads to.",
		Detail: "All that takes is the sharing key that it was sealed under and the chunks, which\n" +
			"are here, or at the peer that storage= names. Device nodes are left out.",
		Example: "snapshot import bazil-snapshot-1-c2Vl myfiles sharing=friends",
	},
}
