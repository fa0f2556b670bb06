package p9srv

import (
	"context"
	"sync/atomic"
)

// What the connections of a server hold together has a bound. Half of it is for
// the messages that are coming and going, of the size agreed on: who comes late
// gets smaller ones. Of the rest, and of what of that half is free, a connection
// may take more while it holds no more than what is left. So one alone gets half
// of it, n that take all they can get have equal shares, and as much again is
// left for who comes next. A connection that holds more than is left (crowded) goes
// on with what everybody may have (sureMemory), and waits for its own requests to
// end and its own replies to be read, never for others.

// DefaultMemory is what the connections of a server may hold together.
const DefaultMemory = 1 << 30

// sureMemory is how many bytes a connection may have at work, in its backlog and
// unread, of each, whatever others hold.
const sureMemory = 64 << 10

// Account is what one connection holds of its server's memory: requests at work
// or waiting, replies that were not read, fids, extended attributes, and what
// the tree takes. Of nil, all may be taken.
type Account struct {
	srv      *Server
	own      atomic.Int64
	messages int64 // for messages, beside own; mu of the conn guards it
}

type accountKey struct{}

// AccountOf is the account of the connection that a request's context belongs
// to, for what a File holds on its behalf; nil if there is none.
func AccountOf(ctx context.Context) *Account {
	a, _ := ctx.Value(accountKey{}).(*Account)
	return a
}

// Take holds n bytes more until they are given back, or says that they cannot
// be had.
func (a *Account) Take(n int64) bool {
	if a == nil {
		return true
	}
	a.charge(n)
	if a.crowded() {
		a.charge(-n)
		return false
	}
	return true
}

// Give gives back n bytes. When the connection ends, all are.
func (a *Account) Give(n int64) {
	if a != nil {
		a.charge(-n)
	}
}

// charge counts n bytes that are held whether there is room for them or not.
func (a *Account) charge(n int64) {
	a.own.Add(n)
	a.srv.used.Add(n)
}

// left is what nobody holds.
func (a *Account) left() int64 { return a.srv.maxMemory() - a.srv.used.Load() }

// crowded is true while no more may be taken.
func (a *Account) crowded() bool { return a.own.Load() > a.left() }

// close gives back everything.
func (a *Account) close() {
	a.charge(-a.own.Load())
	a.setMessages(0)
}

// setMessages holds n bytes for messages rather than what it held for them.
func (a *Account) setMessages(n int64) {
	a.srv.agreed.Add(n - a.messages)
	a.srv.used.Add(n - a.messages)
	a.messages = n
}

// agree holds memory for one message that comes and one that goes, of at most
// msize bytes or an eighth of what is left for messages, and says how large they
// may be. It gives back that of the session before.
func (a *Account) agree(msize uint32) uint32 {
	a.setMessages(0)
	share := (a.srv.maxMemory()/2 - a.srv.agreed.Load()) / 8
	msize = uint32(min(int64(msize), max(share/2, sureMemory)))
	a.setMessages(2 * int64(msize))
	return msize
}

// Fids are charged by the table's growth, of which the first step is free.
const (
	fidStep = 1024
	fidSize = 512 // bytes that a fid takes, about
)

// roomForFid says whether the table may get one more; c.mu is held.
func (s *session) roomForFid() bool {
	n := len(s.fids)
	if n < s.room {
		return true
	}
	if n >= s.c.srv.maxFids() || n >= fidStep && !s.c.memory.Take(fidStep*fidSize) {
		return false
	}
	if n >= fidStep {
		s.held += fidStep * fidSize
	}
	s.room = min(n+fidStep, s.c.srv.maxFids())
	return true
}
