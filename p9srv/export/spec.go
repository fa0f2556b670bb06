package export

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Spec says where an export listens and what it shows there.
type Spec struct {
	Name     string
	Dial     string // unix!/path, tcp!host!port, vsock!port or fd!number
	Volume   string // the only VOLUME, or VOLUME/DIR, shown; empty: all
	ReadOnly bool   // nothing can be changed, ctl commands included
	NoCtl    bool   // no ctl directory
	Insecure bool   // TCP beyond loopback is meant
	Owner    *Owner // whom the files of the server's user seem to belong to
	MaxConns int    // connections at once; 0: DefaultMaxConns
}

// Owner is a user and group number as a client, a virtual machine for
// example, knows them.
type Owner struct{ UID, GID uint32 }

// DefaultMaxConns is how many connections an export takes at once.
const DefaultMaxConns = 128

// ParseSpec reads the words of an export as a user writes them: DIAL and then
// any of volume=NAME, ro, noctl, insecure, owner=UID:GID, conns=N.
func ParseSpec(name, dial string, words []string) (Spec, error) {
	s := Spec{Name: name, Dial: dial}
	if name == "" || strings.ContainsAny(name, "/\x00\n") || name == "." || name == ".." {
		return s, fmt.Errorf("export %q: such a name (empty, with a slash, a dot or two) cannot be had", name)
	}
	for _, w := range words {
		if err := s.option(w); err != nil {
			return s, fmt.Errorf("export %s: %w", name, err)
		}
	}
	if s.Volume != "" && !s.NoCtl {
		s.NoCtl = true
	}
	if _, err := s.address(); err != nil {
		return s, fmt.Errorf("export %s: %w", name, err)
	}
	return s, nil
}

func (s *Spec) option(word string) (err error) {
	key, value, hasValue := strings.Cut(word, "=")
	if flag := key == "ro" || key == "noctl" || key == "insecure"; flag && hasValue {
		return fmt.Errorf("%s: %s stands alone, without a value", word, key)
	}
	switch key {
	case "ro":
		s.ReadOnly = true
	case "noctl":
		s.NoCtl = true
	case "insecure":
		s.Insecure = true
	case "volume":
		s.Volume, err = value, checkPath(value)
	case "owner":
		s.Owner, err = parseOwner(value)
	case "conns":
		s.MaxConns, err = strconv.Atoi(value)
		if err != nil || s.MaxConns < 1 {
			err = fmt.Errorf("conns=%s: want a number of connections from 1", value)
		}
	default:
		err = fmt.Errorf("%q is no option: there are volume=NAME ro noctl insecure owner=UID:GID conns=N", word)
	}
	return err
}

// checkPath refuses what names no volume or directory of one.
func checkPath(path string) error {
	for i, name := range strings.Split(path, "/") {
		if name == "." || name == ".." || name == "" && i == 0 || strings.Contains(name, "\x00") {
			return fmt.Errorf("volume=%s: a volume or a directory in one, as volume=NAME/DIR, has no names . and .. in it", path)
		}
	}
	return nil
}

func parseOwner(s string) (*Owner, error) {
	u, g, ok := strings.Cut(s, ":")
	uid, err1 := strconv.ParseUint(u, 10, 32)
	gid, err2 := strconv.ParseUint(g, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return nil, fmt.Errorf("owner=%s: want owner=UID:GID in numbers", s)
	}
	return &Owner{uint32(uid), uint32(gid)}, nil
}

// Words gives the export's options back as ParseSpec reads them.
func (s Spec) Words() []string {
	var w []string
	add := func(when bool, word string) {
		if when {
			w = append(w, word)
		}
	}
	add(s.Volume != "", "volume="+s.Volume)
	add(s.ReadOnly, "ro")
	add(s.NoCtl && s.Volume == "", "noctl")
	add(s.Insecure, "insecure")
	if s.Owner != nil {
		add(true, fmt.Sprintf("owner=%d:%d", s.Owner.UID, s.Owner.GID))
	}
	add(s.MaxConns != 0, "conns="+strconv.Itoa(s.MaxConns))
	return w
}

// address is a parsed dial string.
type address struct {
	network string // unix, tcp, vsock, fd
	path    string // unix: path; tcp: host:port
	number  uint32 // vsock: port; fd: descriptor
}

func (s Spec) address() (address, error) {
	network, rest, ok := strings.Cut(s.Dial, "!")
	if !ok {
		return address{}, fmt.Errorf("dial string %q: want unix!/PATH, tcp!HOST!PORT, vsock!PORT or fd!NUMBER", s.Dial)
	}
	switch network {
	case "unix":
		if !strings.HasPrefix(rest, "/") {
			return address{}, fmt.Errorf("dial string %q: the socket's path must begin with a slash", s.Dial)
		}
		return address{network: network, path: rest}, nil
	case "tcp":
		return s.tcpAddress(rest)
	case "vsock", "fd":
		n, err := strconv.ParseUint(rest, 10, 32)
		if err != nil {
			return address{}, fmt.Errorf("dial string %q: %q is no number", s.Dial, rest)
		}
		return address{network: network, number: uint32(n)}, nil
	}
	return address{}, fmt.Errorf("dial string %q: network %q is none of unix, tcp, vsock, fd", s.Dial, network)
}

func (s Spec) tcpAddress(rest string) (address, error) {
	host, port, ok := strings.Cut(rest, "!")
	if !ok {
		return address{}, fmt.Errorf("dial string %q: want tcp!HOST!PORT", s.Dial)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return address{}, fmt.Errorf("dial string %q: port %q is no number up to 65535", s.Dial, port)
	}
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	if !loopback && !s.Insecure {
		return address{}, fmt.Errorf("dial string %q: %s is not loopback, and plain 9P has no authentication: add the word insecure if that is meant", s.Dial, host)
	}
	if host == "*" {
		host = ""
	}
	return address{network: "tcp", path: net.JoinHostPort(host, port)}, nil
}
