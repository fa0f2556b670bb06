package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/noiseconn"
	"bazil/p9srv"
	"bazil/p9srv/export"
	"bazil/store"
)

// DefaultPort is the TCP port that servers prefer.
const DefaultPort = 34211

// SocketName is the server's own socket in the data directory.
const SocketName = "9p.sock"

// Options are how a server runs.
type Options struct {
	Dir  string       // the data directory, which must exist
	Addr string       // where to listen for peers; empty: DefaultPort on all addresses, or any port if that is taken
	Log  *slog.Logger // nil: nowhere

	// ReadDeadline is how long a read waits for content that is not here; 0:
	// half a minute.
	ReadDeadline time.Duration

	CacheBytes int64                  // store.Options.CacheBytes
	DirtyBytes int64                  // vol.Options.DirtyLimit
	Sealers    int                    // vol.Options.Sealers
	Passphrase func() ([]byte, error) // store.Options.Passphrase
}

// Daemon is a server. Its methods that ctlfs and export call may be called by
// many requests at once.
type Daemon struct {
	o       Options
	log     *slog.Logger
	started time.Time
	turn    chan struct{} // held by the one command that changes the configuration
	events  ctlfs.Log

	store   *store.Store
	pacer   *pacer
	key     noiseconn.SecretKey
	volumes volumes
	links   links

	upkeep    upkeep
	tasks     tasks
	followers followers
	exports   *export.Manager

	failedExports sync.Map // by name, why one that is configured could not start

	listener *noiseconn.Listener
	guests   guests
	stop     context.CancelFunc // ends what is served to guests
}

// New makes a server that is not running yet.
func New(o Options) *Daemon {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Daemon{o: o, log: log, turn: make(chan struct{}, 1),
		upkeep: newUpkeep()}
}

// Start opens everything. The server runs when it returns; ctx bounds only the
// start. If it fails, nothing is left open; store.ErrLocked is the error where
// another server has the data directory.
func (d *Daemon) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	d.started = time.Now()
	if d.store, err = store.Open(d.o.Dir, store.Options{Log: d.log, CacheBytes: d.o.CacheBytes, Passphrase: d.o.Passphrase, Damaged: d.foundDamage}); err != nil {
		return err
	}
	d.pacer = startPacer(d.store.Chunks())
	d.key = noiseconn.SecretKey(d.store.SecretKey())
	if err := d.openVolumes(); err != nil {
		return err
	}
	if err := d.listen(); err != nil {
		return err
	}
	if err := d.startFeeds(); err != nil {
		return err
	}
	if err := d.export(); err != nil {
		return err
	}
	d.startUpkeep()
	return nil
}

// export opens the 9P listeners.
func (d *Daemon) export() error {
	fs := ctlfs.New(ctlfs.Options{
		Handlers: d.handlers(), System: d, Sharing: keyring{d}, Log: &d.events,
		Peers: peerObjects{d}, Volumes: volumeObjects{d}, Exports: exportObjects{d},
	})
	d.exports = &export.Manager{Log: d.log, Root: &export.Root{
		Volumes: d, Dir: d.store.Dir(),
		Ctl: func(who p9srv.User, parent func() p9srv.Node) p9srv.Node { return fs.Root(who, parent) },
	}}
	if err := d.exports.Add(export.Spec{Name: ownExport, Dial: "unix!" + filepath.Join(d.store.Dir(), SocketName)}); err != nil {
		return err
	}
	return d.startExports()
}

// Addr is where the server listens for peers.
func (d *Daemon) Addr() net.Addr { return d.listener.Addr() }

// Close ends everything and waits for it; what was written is durable then.
func (d *Daemon) Close() error {
	if d.store == nil {
		return nil
	}
	var errs []error
	d.upkeep.end()
	d.followers.stop(context.Background())
	if d.exports != nil {
		errs = append(errs, d.exports.Close())
	}
	errs = append(errs, d.stopListening(), d.links.close())
	for _, name := range d.volumes.names() {
		if err := d.volumes.take(name).close(); err != nil {
			errs = append(errs, fmt.Errorf("close volume %q: %w", name, err))
		}
	}
	d.pacer.close()
	errs = append(errs, d.store.Close())
	d.store = nil
	return errors.Join(errs...)
}

// listen opens the port for peers and serves them.
func (d *Daemon) listen() (err error) {
	cfg := noiseconn.Config{Key: d.key, Known: d.known, Log: d.log}
	if d.o.Addr != "" {
		d.listener, err = noiseconn.Listen(cfg, d.o.Addr)
	} else {
		d.listener, err = noiseconn.Listen(cfg, fmt.Sprintf(":%d", DefaultPort))
		if errors.Is(err, syscall.EADDRINUSE) {
			d.listener, err = noiseconn.Listen(cfg, ":0")
		}
	}
	if err != nil {
		return fmt.Errorf("listen for peers: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.guests.serving.Go(func() { d.servePeers(ctx) })
	return nil
}

// stopListening hangs up on all guests.
func (d *Daemon) stopListening() error {
	if d.listener == nil {
		return nil
	}
	err := d.listener.Close()
	d.stop()
	d.guests.serving.Wait()
	return err
}
