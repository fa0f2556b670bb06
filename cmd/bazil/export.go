package main

// ExportCmd is the commands about exports.
type ExportCmd struct {
	Add    ExportAddCmd    `cmd:""`
	Remove ExportRemoveCmd `cmd:""`
	List   ExportListCmd   `cmd:""`
}

// ExportAddCmd adds a listener.
type ExportAddCmd struct {
	Name  string   `arg:"" help:"What to call it."`
	Dial  string   `arg:"" help:"unix!/path, tcp!HOST!PORT, vsock!PORT or fd!NUMBER."`
	Words []string `arg:"" optional:"" name:"option" help:"volume=VOLUME[/DIR], owner=UID:GID, conns=N, ro, noctl, insecure."`
}

// Run asks the server.
func (c *ExportAddCmd) Run(g *Globals) error {
	return g.do(append([]string{"export", "add", c.Name, c.Dial}, c.Words...)...)
}

// ExportRemoveCmd closes one.
type ExportRemoveCmd struct {
	Name string `arg:"" help:"Its name."`
}

// Run asks the server.
func (c *ExportRemoveCmd) Run(g *Globals) error { return g.do("export", "remove", c.Name) }

// ExportListCmd lists them.
type ExportListCmd struct{ recordForm }

// Run asks the server.
func (c *ExportListCmd) Run(g *Globals) error { return c.list(g, "export", "list") }
