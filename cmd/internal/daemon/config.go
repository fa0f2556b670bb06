package daemon

import (
	"context"
	"fmt"
	"strings"

	"bazil/ctlfs"
	"bazil/store"
)

// command is a line of the configuration about one object.
type command struct {
	verb   string
	object string
	rest   []string
}

// whole is the command's tokens as the root's ctl file takes them.
func (c command) whole() []string {
	return append(append(strings.Fields(c.verb), c.object), c.rest...)
}

// scoped renders commands as the ctl file of their object takes them.
func scoped(all []command) [][]string {
	var lines [][]string
	for _, c := range all {
		words := strings.Fields(c.verb)
		if words[0] != "snapshot" {
			words = words[1:] // the word for the kind of object
		}
		lines = append(lines, append(words, c.rest...))
	}
	return lines
}

// Config is the commands that would rebuild the configuration, in an order in
// which each finds what it names.
func (d *Daemon) Config(context.Context) (lines [][]string, err error) {
	for _, name := range d.store.SharingKeys() {
		if name != defaultSharing {
			lines = append(lines, []string{fmt.Sprintf("# sharing key %s is left out: write its 32 bytes to sharing/%s", ctlfs.Quote(name), ctlfs.Quote(name))})
		}
	}
	err = d.view(func(tx *store.Tx) error {
		commands, err := configuration(tx)
		for _, c := range commands {
			lines = append(lines, c.whole())
		}
		return err
	})
	return lines, err
}

func configuration(tx *store.Tx) ([]command, error) {
	peers, err := listPeers(tx)
	if err != nil {
		return nil, err
	}
	volumes, err := listVolumes(tx)
	if err != nil {
		return nil, err
	}
	exports, err := listExports(tx)
	var all []command
	for _, p := range peers {
		all = append(all, p.adding())
		all = append(all, p.config()...)
	}
	for _, v := range volumes {
		all = append(all, v.making())
		all = append(all, v.config()...)
		s, err := getSchedule(tx, v.name)
		if err != nil {
			return nil, err
		}
		all = append(all, s.config(v.name)...)
	}
	for _, p := range peers {
		all = append(all, p.volumeConfig()...)
	}
	for _, e := range exports {
		all = append(all, e.adding())
	}
	return all, err
}

// adding is the command that makes the peer known.
func (p peerEntry) adding() command {
	c := command{verb: "peer add", object: p.key.String()}
	if p.Name != "" {
		c.rest = []string{p.Name}
	}
	return c
}

// making is the command that makes the volume: from its peer, if it came from
// one.
func (v volumeEntry) making() command {
	sharing := "sharing=" + v.Sharing
	if v.OriginPeer == "" {
		return command{"volume create", v.name, append([]string{sharing}, v.keepOption()...)}
	}
	c := command{"volume connect", v.OriginPeer, []string{v.OriginName, sharing}}
	if v.name != v.OriginName {
		c.rest = append(c.rest, "as="+v.name)
	}
	c.rest = append(c.rest, v.keepOption()...)
	return c
}

func (v volumeEntry) keepOption() []string {
	if v.Keep == "" {
		return nil
	}
	return []string{"keep=" + v.Keep}
}

// config is the commands that give the volume its storage, its pins and those
// it follows.
func (v volumeEntry) config() []command {
	var all []command
	for _, backend := range v.Storage {
		if backend != localBackend {
			all = append(all, command{"volume storage add", v.name, []string{backend}})
		}
	}
	for _, pin := range v.Pins {
		c := command{verb: "volume pin", object: v.name}
		if pin != "" {
			c.rest = []string{pin}
		}
		all = append(all, c)
	}
	for _, key := range v.Follow {
		all = append(all, command{"volume follow", v.name, []string{key}})
	}
	return all
}

// adding is the command that opens the export.
func (e exportEntry) adding() command {
	return command{"export add", e.name, append([]string{e.Dial}, e.Words...)}
}

// config is the command that gives a volume its schedule.
func (s schedule) config(volume string) []command {
	if s == (schedule{}) {
		return nil
	}
	return []command{{"snapshot schedule", volume, s.words()}}
}
