package p9srv

import (
	"os/user"
	"strconv"
	"sync"
	"time"
)

// UserNames turns the numbers of users and groups into the names that 9P2000
// carries, and back.
type UserNames interface {
	UserName(uid uint32) string
	GroupName(gid uint32) string
	LookupUser(name string) (uid uint32, ok bool)
	LookupGroup(name string) (gid uint32, ok bool)
}

// systemNames asks the system, and remembers for a while. A number without a
// name is its digits.
type systemNames struct {
	mu     sync.Mutex // guards what follows
	until  time.Time
	users  map[uint32]string
	groups map[uint32]string
}

const (
	namesKept = time.Minute
	maxNames  = 4096
)

func (s *systemNames) UserName(uid uint32) string {
	return s.lookup(&s.users, uid, func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (s *systemNames) GroupName(gid uint32) string {
	return s.lookup(&s.groups, gid, func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

func (s *systemNames) lookup(names *map[uint32]string, id uint32, ask func(string) (string, error)) string {
	now := time.Now()
	s.mu.Lock()
	if now.After(s.until) || len(s.users) > maxNames || len(s.groups) > maxNames {
		s.users, s.groups = make(map[uint32]string), make(map[uint32]string)
		s.until = now.Add(namesKept)
	}
	name, ok := (*names)[id]
	s.mu.Unlock()
	if ok {
		return name
	}
	digits := strconv.FormatUint(uint64(id), 10)
	if name, err := ask(digits); err == nil && name != "" {
		return s.keep(names, id, name)
	}
	return s.keep(names, id, digits)
}

func (s *systemNames) keep(names *map[uint32]string, id uint32, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	(*names)[id] = name
	return name
}

func (s *systemNames) LookupUser(name string) (uint32, bool) {
	if u, err := user.Lookup(name); err == nil {
		name = u.Uid
	}
	return number(name)
}

func (s *systemNames) LookupGroup(name string) (uint32, bool) {
	if g, err := user.LookupGroup(name); err == nil {
		name = g.Gid
	}
	return number(name)
}

func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && uint32(n) != NoUID
}
