package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv/client"
)

// BenchmarkFlush tells how long it takes from the moment a client gives up a
// request that waits until that is over for it: half of the times are at most
// p50-ms, and none is above max-ms. Two writers keep memory full and the
// processors busy but for the first row.
func BenchmarkFlush(b *testing.B) {
	d := newDevice(b)
	d.run(b, "volume", "create", "v")
	log, err := d.attach(b, "").Walk(b.Context(), "ctl", "log")
	must(b, err)
	must(b, log.Open(b.Context(), syscall.O_RDONLY))
	readLog := func(ctx context.Context) error {
		_, err := log.ReadAt(ctx, make([]byte, 4096), 0)
		return err
	}
	b.Run("log", func(b *testing.B) { givenUp(b, readLog) })

	_, stop := d.flood(b)
	defer stop()
	own, data := d.newFile(b, "own"), noise(99, 64<<10)
	b.Run("write", func(b *testing.B) {
		givenUp(b, func(ctx context.Context) error {
			_, err := own.WriteAt(ctx, data, 0)
			return err
		})
	})
	b.Run("fsync", func(b *testing.B) {
		givenUp(b, func(ctx context.Context) error { return own.Fsync(ctx, false) })
	})
	b.Run("log beside writers", func(b *testing.B) { givenUp(b, readLog) })
}

// BenchmarkBesideWriters tells how long a getattr takes, and a write of 4 KiB,
// while another client writes as much as the server takes: half and 99 of 100
// of the times are at most p50-ms and p99-ms, none is above max-ms. MB/s is
// what the other client gets meanwhile.
func BenchmarkBesideWriters(b *testing.B) {
	d := newDevice(b)
	d.run(b, "volume", "create", "v")
	written, stop := d.flood(b)
	defer stop()
	own, data := d.newFile(b, "own"), noise(99, 4<<10)
	for name, ask := range map[string]func() error{
		"getattr": func() error { _, err := own.Attr(b.Context()); return err },
		"write":   func() error { _, err := own.WriteAt(b.Context(), data, 0); return err },
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			start, before := time.Now(), written.Load()
			for b.Loop() {
				start := time.Now()
				must(b, ask())
				took = append(took, time.Since(start))
			}
			b.ReportMetric(float64(written.Load()-before)/1e6/time.Since(start).Seconds(), "MB/s")
			report(b, took)
		})
	}
}

// newFile makes a file in the volume v, over a connection of its own.
func (d *device) newFile(b *testing.B, name string) *client.Fid {
	f := d.attach(b, "v")
	must(b, f.Create(b.Context(), name, syscall.O_RDWR, 0o644, 0))
	return f
}

// flood has two goroutines write until stop is called, over one connection, and
// counts the bytes.
func (d *device) flood(b *testing.B) (written *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	f, off := d.newFile(b, "flood"), new(atomic.Int64)
	var writers sync.WaitGroup
	for i := range 2 {
		data := noise(uint64(i), 1<<20)
		writers.Go(func() {
			for ctx.Err() == nil {
				at := off.Add(1 << 20)
				copy(data, time.Now().String())
				f.WriteAt(ctx, data, at%(1<<30))
			}
		})
	}
	return off, func() { cancel(); writers.Wait() }
}

// givenUp gives wait up while it waits.
func givenUp(b *testing.B, wait func(context.Context) error) {
	var took []time.Duration
	for b.Loop() {
		for waited := false; !waited; {
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- wait(ctx) }()
			select {
			case <-done: // it had not to wait
			case <-time.After(5 * time.Millisecond):
				start := time.Now()
				cancel()
				<-done
				took = append(took, time.Since(start))
				waited = true
			}
			cancel()
		}
	}
	report(b, took)
}

// report tells how the times are spread.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for name, at := range map[string]int{"p50-ms": len(took) / 2, "p99-ms": len(took) * 99 / 100, "max-ms": len(took) - 1} {
		b.ReportMetric(took[at].Seconds()*1e3, name)
	}
	b.ReportMetric(0, "ns/op")
}
