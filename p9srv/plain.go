package p9srv

import "syscall"

type listing struct{}

func handlerPlain(t MsgType) handler { return nil }

func (r *request) readDirPlain(f *fid, o *openFile, off uint64, n int) error { return syscall.EISDIR }
