package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/p9srv/client"
)

// torn is how many names the measurement of conflicts has, half of them in one
// directory, the others ten to a directory.
const torn = 100000

// speedConflicts measures what people do with very many conflicts. Their server
// is black. Of 100,000, on two processors: sync 2.3 s; conflicts 3.5 s and conflicts
// --json 3.8, which take 18 MiB in the command and some 30 more in the server; ls of
// 50,000 of them in one directory 0.07 s, an info 1 ms; resolve v/one/f4711 10 ms,
// resolve 'v/**' 3.1 s. When the answer was gathered whole, twice in the server and as
// objects in the command, conflicts took 5.8 s, 188 to 243 MiB in the command and
// 100 more in the server.
func speedConflicts(t *testing.T, p *speedPair) {
	var wg sync.WaitGroup
	for _, d := range []*device{p.white, p.black} {
		wg.Go(func() { tear(t, d) })
	}
	wg.Wait()
	root := p.black.attach(t, "")
	bazil := func(args ...string) {
		p.measure(t, "k: bazil "+strings.Join(args, " "), func() {
			cmd := exec.Command("bazil", append([]string{"-data-dir=" + p.black.dir}, args...)...)
			cmd.Stdout = io.Discard
			must(t, cmd.Run())
			fmt.Printf("%44s %d MiB of bazil itself\n", "", cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss>>10)
		})
	}
	bazil("sync", "v", "white")
	for range 2 {
		bazil("conflicts")
		bazil("conflicts", "--json")
	}
	const at = "ctl/volumes/v/conflicts"
	for _, dir := range []string{"", "/one", "/d4711"} {
		p.measure(t, "k: ls "+at+dir, func() { fmt.Printf("%44s %d names\n", "", len(listDir(t, root, at+dir))) })
	}
	p.measure(t, "k: info of one", func() {
		if _, err := readShort(root, at+"/one/f4711/info", make([]byte, 4096)); err != nil {
			t.Error(err)
		}
	})
	bazil("status")
	bazil("resolve", "v/one/f4711", "keep", "newest")
	bazil("resolve", "v/**", "keep", "newest")
	if left := p.black.run(t, "conflicts"); left != "" {
		t.Errorf("left: %.300s", left)
	}
}

// tear makes the names at one device, and returns when they are durable.
func tear(t *testing.T, d *device) {
	ctx := context.Background()
	root, text := d.attach(t, "v"), []byte(d.dir)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				name := "one"
				if i > 0 {
					name = fmt.Sprint("d", i)
				}
				from, to := i*10+torn/2-10, i*10+torn/2
				if i == 0 {
					from, to = 0, torn/2
				}
				must(t, tearDir(ctx, root, name, from, to, text))
			}
		})
	}
	for i := range torn/20 + 1 {
		next <- i
	}
	close(next)
	wg.Wait()
	must(t, put(root, "durable", nil))
}

func tearDir(ctx context.Context, root *client.Fid, name string, from, to int, text []byte) error {
	if _, err := root.Mkdir(ctx, name, 0o755, 0); err != nil {
		return err
	}
	dir, err := root.Walk(ctx, name)
	if err != nil {
		return err
	}
	defer dir.Clunk(ctx)
	for i := from; i < to; i++ {
		if err := plantFile(dir, fmt.Sprint("f", i), text); err != nil {
			return err
		}
	}
	return nil
}
