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

	file := func(name string) *client.Fid {
		f := d.attach(b, "v")
		must(b, f.Create(b.Context(), name, syscall.O_RDWR, 0o644, 0))
		return f
	}
	flooding, stop := context.WithCancel(b.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	flood := file("flood")
	var off atomic.Int64
	for i := range 2 {
		data := noise(uint64(i), 1<<20)
		writers.Go(func() {
			for flooding.Err() == nil {
				at := off.Add(1 << 20)
				copy(data, time.Now().String())
				flood.WriteAt(flooding, data, at%(1<<30))
			}
		})
	}
	own, data := file("own"), noise(99, 64<<10)
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
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)-1].Seconds()*1e3, "max-ms")
	b.ReportMetric(0, "ns/op")
}
