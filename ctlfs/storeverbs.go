package ctlfs

// argRate bounds how fast a command reads.
var argRate = Arg{Name: "rate", Form: Option, Label: "BYTES"}

// storeVerbs are the commands about the chunks of all volumes.
var storeVerbs = []Verb{
	{
		Name: "store collect",
		Args: []Arg{argRate, {Name: "dry-run", Form: Flag}, {Name: "force", Form: Flag}},
		Help: "Free the space of chunks that nothing refers to any more.",
		Detail: "Clients go on reading and writing meanwhile. What was freed before it is\n" +
			"interrupted stays freed. rate= bounds the bytes a second (k, M and G may stand\n" +
			"behind the number). With dry-run it only tells what would be freed. A damaged\n" +
			"copy that nothing needs any more goes, too, once a scrub or a read has found it.\n" +
			"While a chunk that lists others is damaged nothing is freed, unless with force.",
		Example: "store collect rate=50M",
	},
	{
		Name: "store scrub",
		Args: []Arg{argRate, {Name: "restart", Form: Flag}},
		Help: "Read every chunk, check it, and get good copies of damaged ones from peers.",
		Detail: "One that was interrupted goes on where it was, or from the start with restart.\n" +
			"It fails if damage is left.",
		Example: "store scrub rate=20M",
	},
	{
		Name: "store repair",
		Help: "Get good copies of the chunks known to be damaged, from peers that have them.",
		Detail: "Every peer that is storage of a volume is asked. It fails if damage is left.\n" +
			"The server does the same by itself when a read meets damage.",
		Example: "store repair",
	},
	{
		Name: "store auto", Args: []Arg{{Name: "switch", Words: []string{"on", "off"}}},
		Help: "Say whether the server collects by itself, once a day, when much can be freed.",
		Detail: "Much is a gibibyte, or a quarter of all. It is off at first, so that chunks which\n" +
			"no volume here knows yet, as those of a backup, are not freed.",
		Example: "store auto on",
	},
}
