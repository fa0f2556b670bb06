package main

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// programsToRun are the programs that ask the most of a file system, as shell
// scripts that run in an empty folder of the mount. $N is how many files or
// rows, or megabytes, there are: full with -full, else some; few in the guest,
// whose one processor is slow, and with the race detector. $OUT is a folder
// outside of the mount.
var programsToRun = []struct {
	name, needs     string
	few, some, full int
	script          string
}{
	{"git", "git", 100, 1000, 5000, gitScript},
	{"go", "go", 1, 1, 2, goScript},
	{"sqlite", "sqlite3", 10000, 10000, 10000, sqliteScript},
	{"tar", "tar", 100, 1000, 20000, tarScript},
	{"rsync", "rsync", 100, 1000, 5000, rsyncScript},
	{"fio", "fio", 4, 16, 64, fioScript},
	{"cp", "cp", 100, 1000, 5000, cpScript},
}

// programs runs them on a mounted volume. One that this machine lacks is
// skipped, but never under CI.
func programs(t *testing.T, dir string) {
	for _, p := range programsToRun {
		t.Run(p.name, func(t *testing.T) {
			need(t, p.needs, "a package of that name")
			n := p.some
			switch {
			case *full:
				n = p.full
			case raceEnabled:
				n = min(p.few, 1000)
			case testing.Short() || os.Getenv("BAZIL_GUEST") != "":
				n = p.few
			}
			sub, err := os.MkdirTemp(dir, p.needs)
			must(t, err)
			shell(t, sub, p.script, fmt.Sprint("N=", n))
			must(t, os.RemoveAll(sub))
		})
	}
}

// shell runs a script in dir.
func shell(t *testing.T, dir, script string, env ...string) {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "OUT="+t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, tail(string(out), 4000))
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return s[len(s)-n:]
	}
	return s
}

// makeTree makes a tree of $N files in $OUT/tree, with what programs are to
// keep: modes, times of part of a second, symlinks, attributes.
const makeTree = `
mkdir $OUT/tree
for i in $(seq $((N / 50))); do
	mkdir $OUT/tree/d$i
	for j in $(seq 50); do echo "file $i $j $RANDOM" > $OUT/tree/d$i/f$j; done
done
head -c 300000 /dev/urandom > $OUT/tree/large
chmod 751 $OUT/tree/large
chmod 4750 $OUT/tree/d1/f2
touch -d '2001-02-03 04:05:06.789012345' $OUT/tree/d1/f1
ln -s d1/f1 $OUT/tree/link
mkfifo $OUT/tree/fifo
# v9fs of Linux 6.1 sets times in whole seconds.
time=%T@
if grep -q " $(df --output=target . | tail -1) 9p " /proc/self/mounts; then time=%Ts; fi
attributes() { (cd $1; find . -printf "%p %y %m $time %l\n" | sort); }
same() { # two trees
	diff -r --no-dereference --exclude=fifo $1 $2
	diff <(attributes $1) <(attributes $2)
}
`

// A commit may begin to collect garbage; it must not do so behind our back.
const gitScript = makeTree + `
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=gc.autoDetach GIT_CONFIG_VALUE_0=false
git init -q -b main $OUT/tree
git -C $OUT/tree add -A
git -C $OUT/tree commit -qm one
git clone -q --no-hardlinks $OUT/tree clone
cd clone
test -z "$(git status --porcelain)"
for f in d1/*; do echo more >> $f; done
git mv d2 moved
git commit -qam two
git gc -q --prune=now
git fsck --full --strict
test -z "$(git status --porcelain)"
if [ $N -gt 100 ]; then
	git checkout -q -b side HEAD~1; echo side > side; git add side; git commit -qm three; git merge -qm merged main
	git push -q origin side
	git -C $OUT/tree cat-file -e side
fi
cd ..
git clone -q clone again
diff -r --exclude=.git clone again
`

const sqliteScript = `
insert() { sqlite3 -cmd '.timeout 120000' delete.db "insert into u values($1)"; }
for mode in delete wal; do
	seq -f 'insert into t values(%.0f, hex(randomblob(50)));' $N > $OUT/inserts
	{ echo "pragma journal_mode=$mode; create table t(i integer primary key, s text); begin;"; cat $OUT/inserts; echo "commit;"; } | sqlite3 $mode.db > $OUT/log
	for i in 0 1 2 3 4; do sqlite3 $mode.db "update t set s = s || 'x' where i % 5 = $i"; done
	test "$(sqlite3 $mode.db 'pragma integrity_check; select count(*), sum(length(s)) from t')" = "ok
$N|$((N * 101))"
done
sqlite3 delete.db 'create table u(a)'
for writer in 1 2; do (for i in 1 2 3 4 5; do insert $i; done) & done; wait
test "$(sqlite3 delete.db 'select count(*) from u; pragma integrity_check' | tr '\n' ' ')" = "10 ok "
`

const tarScript = makeTree + `
tar --format=posix -C $OUT -cf $OUT/tree.tar tree
tar -xf $OUT/tree.tar
same $OUT/tree tree
tar --format=posix -cf $OUT/back.tar tree
mkdir $OUT/back
tar -C $OUT/back -xf $OUT/back.tar
same $OUT/tree $OUT/back/tree
`

const rsyncScript = makeTree + `
if command -v setfattr >/dev/null && setfattr -n user.note -v hello $OUT/tree/large 2>/dev/null; then X=-X; else X=; fi
rsync -a $X $OUT/tree/ there/
rsync -a $X there/ $OUT/back/
test -z "$(rsync -ainc $X --delete $OUT/tree/ there/)"
test -z "$(rsync -ain $X --delete $OUT/tree/ $OUT/back/)"
diff -r --no-dereference --exclude=fifo $OUT/tree $OUT/back
if [ -n "$X" ]; then getfattr --only-values -n user.note there/large | grep -qx hello; fi
`

const fioScript = `
run() { fio --directory=. --size=${N}M --rw=randwrite --verify=crc32c --do_verify=1 --output=$OUT/log "$@" || { cat $OUT/log; exit 1; }; }
run --name=sync --bs=4k-64k --ioengine=psync --fsync=256 --numjobs=2
run --name=direct --bs=4k --ioengine=libaio --iodepth=16 --direct=1
run --name=mapped --bs=4k --ioengine=mmap
`

const cpScript = makeTree + `
cp -a $OUT/tree copy
same $OUT/tree copy
cp -a copy $OUT/back
same $OUT/tree $OUT/back
`

// The build's cache is in the mount too, but for the guest, which takes the
// host's and only builds what is new.
const goScript = `
mkdir -p m/p; cd m
export GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPATH=$OUT/go HOME=$OUT GOCACHE=${GUEST_GOCACHE:-$PWD/../cache}
printf 'module m\n\ngo 1.21\n' > go.mod
printf 'package p\n\nimport "errors"\n\nvar E = errors.New("built here")\n' > p/p.go
printf 'package main\n\nimport "m/p"\n\nfunc main() { println(p.E.Error()) }\n' > main.go
printf 'package p\n\nimport "testing"\n\nfunc Test(t *testing.T) { if E == nil { t.Fatal() } }\n' > p/p_test.go
go build -o hello .
test "$(./hello 2>&1)" = 'built here'
if [ $N -gt 1 ]; then go vet ./...; go test ./p; fi
`
