package main

import "github.com/alecthomas/kong"

// HelpCmd tells about a command.
type HelpCmd struct {
	Words []string `arg:"" optional:"" name:"command" help:"The command's words."`
}

// Run prints what --help does.
func (c *HelpCmd) Run(parser *kong.Kong) error {
	_, err := parser.Parse(append(c.Words, "--help"))
	return err
}
