package fusemount

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var full = flag.Bool("full", false, "run real programs with as much as people have; takes minutes")

// programs are what people do in a mount, as shell scripts. N is how many
// files or rows; the script runs in an empty folder of the mount, TMP is one
// outside.
var programs = []struct {
	name      string
	needs     string
	few, many int
	script    string
}{
	{"git", "git", 100, 5000, `
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main $TMP/origin
i=0; while [ $i -lt $N ]; do d=$TMP/origin/d$((i % 50)); mkdir -p $d; echo "file $i" > $d/f$i; i=$((i + 1)); done
git -C $TMP/origin add . && git -C $TMP/origin commit -q -m one
git clone -q $TMP/origin work; cd work
test -z "$(git status --porcelain)"
for f in d1/*; do echo changed >> $f; done; git mv d2 moved; git commit -q -a -m two
git checkout -q -b side HEAD~1; echo side > side; git add side; git commit -q -m three; git merge -q -m merged main
git stash list; git gc -q; git fsck --strict 2>&1 | grep -v dangling || true
test -z "$(git status --porcelain)"; test "$(git ls-files | wc -l)" = $((N + 1))
git push -q origin side; git -C $TMP/origin cat-file -e side`},
	{"go", "go", 1, 2, `
mkdir -p m/p; cd m; [ $N = 1 ] || export GOCACHE=$PWD/../cache; export GOFLAGS=-mod=mod GOTOOLCHAIN=local
printf 'module m\n\ngo 1.24\n' > go.mod
printf 'package p\n\nimport "errors"\n\nvar E = errors.New("works")\n' > p/p.go
printf 'package main\n\nimport "m/p"\n\nfunc main() { println(p.E.Error()) }\n' > main.go
printf 'package p\n\nimport "testing"\n\nfunc Test(t *testing.T) { if E == nil { t.Fatal() } }\n' > p/p_test.go
go build -o main . && ./main 2>&1 | grep works; go vet ./... && go test ./p | grep ok`},
	{"sqlite", "sqlite3", 300, 10000, `
for mode in delete wal; do
	{ echo "pragma journal_mode=$mode; pragma synchronous=off; create table t(a integer primary key, b text);"
	i=0; while [ $i -lt $N ]; do
		[ $((i % 25)) = 0 ] && echo "begin;"
		echo "insert into t values($i, 'row $i of a table');"
		[ $((i % 25)) = 24 ] && echo "commit;"
		i=$((i + 1))
	done; } | sqlite3 $mode.db > /dev/null
	sqlite3 $mode.db 'update t set b = b || b where a % 3 = 0; delete from t where a % 7 = 0; vacuum;'
	test "$(sqlite3 $mode.db 'pragma integrity_check')" = ok
	test "$(sqlite3 $mode.db 'select count(*) from t')" = $((N - (N + 6) / 7))
done
# two writers
sqlite3 delete.db 'create table u(a)'
w() { i=0; while [ $i -lt 20 ]; do sqlite3 -cmd '.timeout 60000' delete.db "insert into u values($i)"; i=$((i + 1)); done; }
w & w; wait
test "$(sqlite3 delete.db 'select count(*) from u; pragma integrity_check' | tr '\n' ' ')" = "40 ok "`},
	{"tar", "tar", 300, 20000, `
mkdir $TMP/in; i=0; while [ $i -lt $N ]; do d=$TMP/in/d$((i % 100)); mkdir -p $d; echo "content $i" > $d/f$i; i=$((i + 1)); done
ln -s d1/f1 $TMP/in/link; chmod 700 $TMP/in/d2; touch -d '2001-02-03 04:05:06.789' $TMP/in/d3/f3
tar --format=posix -cf - -C $TMP in | tar xf -; diff -r --no-dereference $TMP/in in
tar --format=posix -cf - in | tar xf - -C $TMP --transform s/^in/out/; diff -r --no-dereference $TMP/in $TMP/out
test "$(cd $TMP/in; find . -printf '%P %m %T@ %y %l\n' | sort | md5sum)" = "$(cd in; find . -printf '%P %m %T@ %y %l\n' | sort | md5sum)"`},
	{"rsync", "rsync", 200, 5000, `
mkdir $TMP/in; i=0; while [ $i -lt $N ]; do echo "content $i" > $TMP/in/f$i; i=$((i + 1)); done
python3 -c 'import os,sys; os.setxattr(sys.argv[1], "user.color", b"blue")' $TMP/in/f1
ln -s f1 $TMP/in/link; mkfifo $TMP/in/fifo; chmod 4755 $TMP/in/f2; touch -d 1999-01-01 $TMP/in/f3
rsync -aX $TMP/in/ here/; rsync -aX here/ $TMP/back/
test -z "$(rsync -naXi --delete $TMP/in/ $TMP/back/; rsync -naXci --delete $TMP/in/ here/)"`},
	{"fio", "fio", 4, 64, `
fio --name=v --directory=. --size=${N}M --rw=randwrite --bs=4k-64k --verify=crc32c --do_verify=1 --ioengine=psync --numjobs=2 --group_reporting --minimal > $TMP/log || { cat $TMP/log; exit 1; }
fio --name=d --directory=. --size=${N}M --rw=randwrite --bs=4k --direct=1 --verify=crc32c --ioengine=libaio --iodepth=16 --minimal > $TMP/log || { cat $TMP/log; exit 1; }
fio --name=m --directory=. --size=${N}M --rw=randwrite --bs=4k --verify=crc32c --ioengine=mmap --minimal > $TMP/log || { cat $TMP/log; exit 1; }`},
	{"cp", "cp", 100, 3000, `
mkdir in; i=0; while [ $i -lt $N ]; do echo $i > in/f$i; i=$((i + 1)); done
chmod 640 in/f1; touch -d '2001-02-03 04:05:06.789' in/f2; ln -s f1 in/l; ln in/f3 in/hard
cp -a in out; cp -a in $TMP/out
for d in out $TMP/out; do test "$(cd in; find . -printf '%P %m %T@ %y %l %n\n' | sort)" = "$(cd $d; find . -printf '%P %m %T@ %y %l %n\n' | sort)"; done`},
}

func TestPrograms(t *testing.T) {
	if withRace && !*full {
		t.Skip("too long with the race detector")
	}
	for _, events := range []bool{false, true} {
		s, o := serve(t), Options{}
		if events {
			s.disk.feed = newFeed()
			o.Events = s.disk.feed.open
		}
		_, dir := s.mount(t, o)
		for _, p := range programs {
			t.Run(fmt.Sprintf("%s,events=%v", p.name, events), func(t *testing.T) {
				if _, err := exec.LookPath(p.needs); err != nil {
					t.Skip(err)
				}
				count := p.few
				if *full {
					count = p.many
				}
				here := filepath.Join(dir, p.name)
				check(t, os.Mkdir(here, 0o755))
				run(t, here, p.script, "TMP="+t.TempDir(), fmt.Sprint("N=", count))
			})
		}
	}
}
