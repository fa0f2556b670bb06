package main

// StatusCmd tells how everything stands.
type StatusCmd struct{ recordForm }

// hiddenInStatus are the fields, by the kind of record, that people look for
// only in a list.
var hiddenInStatus = map[string]map[string]bool{
	"volume": fieldSet("id replica"),
	"peer":   fieldSet("key"),
	"export": fieldSet("addr"),
}

// Run asks the server.
func (c *StatusCmd) Run(g *Globals) error { return c.show(g, hiddenInStatus, "status") }
