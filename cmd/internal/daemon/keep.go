package daemon

import (
	"context"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/merge/replica"
	"bazil/store"
	"bazil/store/vol"
)

// keepLazy is the volumeRecord.Keep of a volume whose content is fetched when
// it is read, or pinned; "" keeps everything.
const keepLazy = "lazy"

// How long a keeper waits after content could not be had.
const (
	keeperRetry    = time.Second
	keeperPatience = 2 * time.Minute
)

// keeper fetches the content of a volume that is to be here and is not, beside
// everything else: what is left of a sync that did not wait for it, or was cut,
// what has been pinned. A feed fetches what comes in by it itself.
type keeper struct {
	wake    chan struct{} // capacity 1
	running sync.WaitGroup

	mu      sync.Mutex // guards all below
	busy    bool
	problem error     // why the last round failed
	again   time.Time // when the next one is
}

func (k *keeper) start(d *Daemon, v *openVolume) {
	k.wake = make(chan struct{}, 1)
	k.kick()
	k.running.Go(func() { k.run(d, v) })
}

// kick asks for a round now.
func (k *keeper) kick() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run(d *Daemon, v *openVolume) {
	var again <-chan time.Time
	for wait := keeperRetry; ; {
		select {
		case <-k.wake:
		case <-again:
		case <-v.ctx.Done():
			return
		}
		k.set(true, nil, time.Time{})
		_, err := d.fetchContent(v.ctx, v, nil, "", nil)
		if v.ctx.Err() != nil {
			return
		}
		if again = nil; err == nil {
			wait = keeperRetry
			k.set(false, nil, time.Time{})
			continue
		}
		again = time.After(wait)
		k.set(false, err, time.Now().Add(wait))
		wait = min(2*wait, keeperPatience)
	}
}

func (k *keeper) set(busy bool, problem error, again time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy, k.again = busy, again
	if !busy {
		k.problem = problem
	}
}

// state is what the keeper does, and why content is not here.
func (k *keeper) state() (state string, again time.Time, problem error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.busy:
		return "fetching", k.again, k.problem
	case k.problem != nil:
		return "waiting", k.again, k.problem
	}
	return "idle", k.again, nil
}

// keeps says which content of the volume is to be here.
func (e volumeEntry) keeps(p string) bool {
	return e.Keep != keepLazy || slices.ContainsFunc(e.Pins, func(pin string) bool {
		return under(p, pin)
	})
}

// under says whether a path is that one or below it; "" is the root.
func under(p, top string) bool {
	return top == "" || p == top || strings.HasPrefix(p, top+"/")
}

// only is the content to be fetched; nil: all.
func (e volumeEntry) only() func(vol.Want) bool {
	if e.Keep != keepLazy {
		return nil
	}
	return func(w vol.Want) bool { return e.keeps(w.Path) }
}

// keepOf is the record's form of a command's keep=.
func keepOf(word string) string {
	if word == keepLazy {
		return keepLazy
	}
	return ""
}

// changeVolume changes the record of a volume, and has its keeper look at what
// that means.
func (d *Daemon) changeVolume(name string, change func(e *volumeEntry) error) error {
	err := d.update(func(tx *store.Tx) error {
		e, err := findVolume(tx, name)
		if err != nil {
			return err
		}
		if err := change(&e); err != nil {
			return err
		}
		return e.put(tx)
	})
	if v := d.volumes.get(name); err == nil && v != nil && v.vol != nil {
		v.keeper.kick()
	}
	return err
}

// volumeKeep is the command.
func (d *Daemon) volumeKeep(_ context.Context, c *ctlfs.Call) error {
	err := d.changeVolume(c.Arg("volume"), func(e *volumeEntry) error {
		e.Keep = keepOf(c.Arg("mode"))
		return nil
	})
	if err == nil {
		d.event("volume.keep", "volume", c.Arg("volume"), "keep", c.Arg("mode"))
	}
	return err
}

// volumePin is the command.
func (d *Daemon) volumePin(ctx context.Context, c *ctlfs.Call) error {
	name, pin, err := pinned(c)
	if err != nil {
		return err
	}
	lazy := false
	err = d.changeVolume(name, func(e *volumeEntry) error {
		lazy = e.Keep == keepLazy
		e.Pins = with(e.Pins, pin)
		return nil
	})
	if err != nil {
		return err
	}
	d.event("volume.pin", "volume", name, "path", pin)
	if v, ctx, done, err := d.useVolume(ctx, name); err == nil {
		defer done()
		if !exists(ctx, v.vol, pin) {
			c.Printf("volume %q has no %q yet: it counts when there is one\n", name, pin)
		}
	}
	if !lazy {
		c.Printf("volume %q keeps everything: pins count when it is lazy\n", name)
	}
	return nil
}

// volumeUnpin is the command.
func (d *Daemon) volumeUnpin(_ context.Context, c *ctlfs.Call) error {
	name, pin, err := pinned(c)
	if err != nil {
		return err
	}
	err = d.changeVolume(name, func(e *volumeEntry) error {
		if !slices.Contains(e.Pins, pin) {
			return ctlfs.Errorf(syscall.ENOENT, "in volume %q %q is not pinned: volume list tells what is", name, pin)
		}
		e.Pins = without(e.Pins, pin)
		return nil
	})
	if err == nil {
		d.event("volume.unpin", "volume", name, "path", pin)
	}
	return err
}

// pinned is the volume and the path of a command about pins; "" is the root.
func pinned(c *ctlfs.Call) (name, pin string, err error) {
	name, pin, err = target(c)
	if err != nil || pin == "" {
		return name, pin, err
	}
	if clean := path.Clean(pin); clean != pin || clean == "." || strings.HasPrefix(clean, "..") {
		return "", "", ctlfs.Errorf(syscall.EINVAL, "path %q is not a path inside of a volume", pin)
	}
	return name, pin, nil
}

// exists tells whether there is anything at a path.
func exists(ctx context.Context, v *vol.Volume, p string) bool {
	n := v.Root()
	for name := range strings.SplitSeq(p, "/") {
		if p == "" {
			return true
		}
		var err error
		if n, err = n.Lookup(ctx, name); err != nil {
			return false
		}
	}
	return true
}

// pinList shows pins as status does, the root as a slash.
func pinList(pins []string) string {
	shown := slices.Clone(pins)
	for i := range shown {
		shown[i] = "/" + shown[i]
	}
	return ctlfs.Join(shown)
}

// fetchOptions says what to fetch of a volume below a path.
func (d *Daemon) fetchOptions(name, top string) (replica.Options, error) {
	e, err := volumeObject{d, name}.entry()
	o := replica.Options{Only: e.only()}
	if top != "" {
		o.Only = func(w vol.Want) bool { return e.keeps(w.Path) && under(w.Path, top) }
	}
	return o, err
}
