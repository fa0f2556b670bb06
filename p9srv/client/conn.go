package client

import (
	"context"
	"errors"
	"net"

	"bazil/p9srv"
)

// Options are a connection's settings; zero values work.
type Options struct {
	Msize uint32 // bytes of a message; 0: 1 MiB
}

// Conn is a connection to a server.
type Conn struct{}

// Msize is what was agreed on.
func (c *Conn) Msize() uint32 { return 0 }

// Close ends the connection.
func (c *Conn) Close() error { return nil }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return nil }

// Err says why the connection ended.
func (c *Conn) Err() error { return errors.ErrUnsupported }

// Fid is a file at the server.
type Fid struct{}

// QID is the file's as of walk, open or create.
func (f *Fid) QID() p9srv.QID { return p9srv.QID{} }

func New(ctx context.Context, c net.Conn, o Options) (*Conn, error) { return nil, errors.ErrUnsupported }

func (c *Conn) Attach(ctx context.Context, uname, aname string, uid uint32) (*Fid, error) { return nil, errors.ErrUnsupported }

func (f *Fid) Walk(ctx context.Context, names ...string) (*Fid, error) { return nil, errors.ErrUnsupported }

func (f *Fid) Attr(ctx context.Context) (p9srv.Attr, error) { return p9srv.Attr{}, errors.ErrUnsupported }

func (f *Fid) SetAttr(ctx context.Context, a p9srv.SetAttr) error { return errors.ErrUnsupported }

func (f *Fid) Open(ctx context.Context, flags uint32) error { return errors.ErrUnsupported }

func (f *Fid) Create(ctx context.Context, name string, flags, mode, gid uint32) error { return errors.ErrUnsupported }

func (f *Fid) ReadAt(ctx context.Context, p []byte, off int64) (int, error) { return 0, errors.ErrUnsupported }

func (f *Fid) Read1(ctx context.Context, p []byte, off int64) (int, error) { return 0, errors.ErrUnsupported }

func (f *Fid) WriteAt(ctx context.Context, p []byte, off int64) (int, error) { return 0, errors.ErrUnsupported }

func (f *Fid) ReadDir(ctx context.Context, off uint64, count uint32) ([]p9srv.Dirent, error) { return nil, errors.ErrUnsupported }

func (f *Fid) Mkdir(ctx context.Context, name string, mode, gid uint32) (p9srv.QID, error) { return p9srv.QID{}, errors.ErrUnsupported }

func (f *Fid) Symlink(ctx context.Context, name, target string, gid uint32) (p9srv.QID, error) { return p9srv.QID{}, errors.ErrUnsupported }

func (f *Fid) Mknod(ctx context.Context, name string, mode, major, minor, gid uint32) (p9srv.QID, error) { return p9srv.QID{}, errors.ErrUnsupported }

func (f *Fid) Readlink(ctx context.Context) (string, error) { return "", errors.ErrUnsupported }

func (f *Fid) Link(ctx context.Context, target *Fid, name string) error { return errors.ErrUnsupported }

func (f *Fid) RenameAt(ctx context.Context, oldName string, newDir *Fid, newName string) error { return errors.ErrUnsupported }

func (f *Fid) UnlinkAt(ctx context.Context, name string, flags uint32) error { return errors.ErrUnsupported }

func (f *Fid) Remove(ctx context.Context) error { return errors.ErrUnsupported }

func (f *Fid) Fsync(ctx context.Context, dataOnly bool) error { return errors.ErrUnsupported }

func (f *Fid) Statfs(ctx context.Context) (p9srv.Statfs, error) { return p9srv.Statfs{}, errors.ErrUnsupported }

func (f *Fid) Lock(ctx context.Context, l p9srv.LockRequest) (p9srv.LockStatus, error) { return 0, errors.ErrUnsupported }

func (f *Fid) GetLock(ctx context.Context, l p9srv.LockRequest) (p9srv.LockRequest, error) { return p9srv.LockRequest{}, errors.ErrUnsupported }

func (f *Fid) GetXattr(ctx context.Context, name string) ([]byte, error) { return nil, errors.ErrUnsupported }

func (f *Fid) SetXattr(ctx context.Context, name string, value []byte, flags uint32) error { return errors.ErrUnsupported }

func (f *Fid) ListXattr(ctx context.Context) ([]string, error) { return nil, errors.ErrUnsupported }

func (f *Fid) RemoveXattr(ctx context.Context, name string) error { return errors.ErrUnsupported }

func (f *Fid) Clunk(ctx context.Context) error { return errors.ErrUnsupported }
