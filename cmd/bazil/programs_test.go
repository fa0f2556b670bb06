package main

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// programs runs on a mounted volume the programs that ask the most of a file
// system. A program that this machine lacks is skipped, but never under CI.
func programs(t *testing.T, dir string) {
	for _, p := range []struct{ name, needs, script string }{
		{"git", "git", gitScript},
		{"sqlite", "sqlite3", sqliteScript},
		{"tar", "tar", tarScript},
		{"rsync", "rsync", rsyncScript},
		{"fio", "fio", fioScript},
		{"cp", "cp", cpScript},
		{"go build", "go", goScript},
	} {
		if p.needs == "go" && os.Getenv("BAZIL_GUEST") != "" {
			continue // minutes on a guest's one slow processor
		}
		t.Run(p.name, func(t *testing.T) {
			if _, err := exec.LookPath(p.needs); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			sub, err := os.MkdirTemp(dir, p.needs)
			must(t, err)
			shell(t, sub, p.script)
			must(t, os.RemoveAll(sub))
		})
	}
}

// shell runs a script in dir; $OUT is a folder outside of it.
func shell(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "OUT="+t.TempDir(), fmt.Sprintf("FILES=%d", programFiles()),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GOFLAGS=-mod=mod")
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

// programFiles is how many files the tree is made of that git, tar and rsync
// get: few in a short run and in a guest, whose one processor is slow.
func programFiles() int {
	switch {
	case os.Getenv("BAZIL_FILES") != "":
		n := 0
		fmt.Sscan(os.Getenv("BAZIL_FILES"), &n)
		return n
	case testing.Short() || os.Getenv("BAZIL_GUEST") != "":
		return 100
	}
	return 1000
}

// makeTree makes a tree of $FILES files in $OUT/tree.
const makeTree = `
mkdir $OUT/tree
for i in $(seq $((FILES / 50))); do
	mkdir $OUT/tree/d$i
	for j in $(seq 50); do echo "file $i $j $RANDOM" > $OUT/tree/d$i/f$j; done
done
head -c 300000 /dev/urandom > $OUT/tree/large
chmod 751 $OUT/tree/large
ln -s d1/f1 $OUT/tree/link
`

const gitScript = makeTree + `
git init -q $OUT/tree
cd $OUT/tree
git add -A
git -c user.name=a -c user.email=a@b commit -qm one
cd $OLDPWD
git clone -q --no-hardlinks $OUT/tree clone
cd clone
echo more >> d1/f1
git mv d1/f2 d1/g2
git -c user.name=a -c user.email=a@b commit -qam two
git gc -q --prune=now
git fsck --full --strict
test -z "$(git status --porcelain)"
cd ..
git clone -q clone again
diff -r --exclude=.git clone again
`

const sqliteScript = `
for mode in delete wal; do
	for i in $(seq 10000); do echo "insert into t values($i, hex(randomblob(50)));"; done > $OUT/inserts
	{ echo "pragma journal_mode=$mode; create table t(i integer primary key, s text); begin;"; cat $OUT/inserts; echo "commit;"; } | sqlite3 $mode.db > $OUT/log
	for i in $(seq 10); do sqlite3 $mode.db "update t set s = s || 'x' where i % 10 = $((i - 1))"; done
	test "$(sqlite3 $mode.db 'pragma integrity_check; select count(*), sum(length(s)) from t')" = "ok
10000|1010000"
done
`

const tarScript = makeTree + `
tar -C $OUT -cf $OUT/tree.tar tree
tar -xf $OUT/tree.tar
tar -cf $OUT/back.tar tree
tar -df $OUT/tree.tar
mkdir $OUT/back
tar -C $OUT/back -xf $OUT/back.tar
diff -r $OUT/tree $OUT/back/tree
`

const rsyncScript = makeTree + `
if command -v setfattr >/dev/null && setfattr -n user.note -v hello $OUT/tree/large 2>/dev/null; then X=-X; else X=; fi
rsync -a $X $OUT/tree/ there/
rsync -a $X there/ $OUT/back/
test -z "$(rsync -ain $X --delete $OUT/tree/ there/)"
test -z "$(rsync -ain $X --delete $OUT/tree/ $OUT/back/)"
diff -r $OUT/tree $OUT/back
`

const fioScript = `
fio --name=verify --directory=. --size=16M --rw=randwrite --bs=4k --verify=crc32c --do_verify=1 \
	--ioengine=psync --fsync=256 --output=$OUT/log >/dev/null || { cat $OUT/log; exit 1; }
`

const cpScript = makeTree + `
touch -d '2001-02-03 04:05:06.789012345' $OUT/tree/d1/f1
time=%T@
# v9fs of Linux 6.1 sets times in whole seconds.
if [ "$(stat -f -c %t .)" = 1021997 ] && grep -q ' 9p ' /proc/self/mounts; then time=%Ts; fi
chmod 4750 $OUT/tree/d1/f2
cp -a $OUT/tree copy
cp -a copy $OUT/back
(cd $OUT/tree; find . -printf "%p %m $time %l\n" | sort) > $OUT/want
(cd copy; find . -printf "%p %m $time %l\n" | sort) > $OUT/got
diff $OUT/want $OUT/got
diff -r $OUT/tree $OUT/back
`

const goScript = `
mkdir m; cd m
printf 'module m\n\ngo 1.21\n' > go.mod
printf 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("built here") }\n' > main.go
HOME=$PWD/home GOCACHE=$PWD/cache GOFLAGS= GOPATH=$OUT/go go build -o hello .
test "$(./hello)" = 'built here'
`
