package store

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
	"golang.org/x/crypto/chacha20poly1305"
)

var update = flag.Bool("update", false, "write the golden vectors anew (only for a new format version)")

// noise returns n bytes that do not compress and are the same every time.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// prose returns n bytes that compress about fourfold.
func prose(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := strings.Fields("chunk segment seal pointer volume the of a directory is sharing key merge dot context")
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %x ", words[r.IntN(len(words))], r.IntN(64))
	}
	return b.Bytes()[:n]
}

func testKey() (k SharingKey) {
	for i := range k {
		k[i] = byte(i)
	}
	return k
}

type sealVector struct {
	Name   string
	Type   ChunkType
	Codec  byte
	Plain  string // hex; for long ones "noise LENGTH SEED" or "prose LENGTH SEED"
	ID     string
	Key    string
	Sealed string // hex; empty for long ones, whose ID stands for it
}

func (v sealVector) plain(t testing.TB) []byte {
	var n int
	var seed byte
	if _, err := fmt.Sscanf(v.Plain, "noise %d %d", &n, &seed); err == nil {
		return noise(n, seed)
	}
	if _, err := fmt.Sscanf(v.Plain, "prose %d %d", &n, &seed); err == nil {
		return prose(n, uint64(seed))
	}
	return unhex(t, v.Plain)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func golden(t testing.TB, name string, v any, make func()) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		make()
		b, err := json.MarshalIndent(v, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func makeSealVectors(t *testing.T) []sealVector {
	vs := []sealVector{
		{Name: "empty", Type: ChunkData, Plain: ""},
		{Name: "short", Type: ChunkData, Plain: hex.EncodeToString([]byte("hello, world\n"))},
		{Name: "short tree", Type: ChunkTree, Plain: hex.EncodeToString([]byte("hello, world\n"))},
		{Name: "random", Type: ChunkExtents, Plain: "noise 300 1"},
		{Name: "random 64 KiB", Type: ChunkData, Plain: "noise 65536 2"},
		{Name: "random 1 MiB", Type: ChunkSnapshot, Plain: "noise 1048576 3"},
		{Name: "text", Type: ChunkData, Plain: "prose 1500 4"},
	}
	s := NewSealer(testKey())
	for i := range vs {
		v := &vs[i]
		plain := v.plain(t)
		p, sealed, err := s.Seal(nil, v.Type, plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(plain)+headerSize+tagLen {
			v.Codec = codecZstd
		}
		v.ID, v.Key = p.ID.String(), hex.EncodeToString(p.Key[:])
		if len(sealed) < 4096 {
			v.Sealed = hex.EncodeToString(sealed)
		}
	}
	return vs
}

// TestSealGolden holds the construction to what it was: sealing for raw
// content, opening for all.
func TestSealGolden(t *testing.T) {
	var vs []sealVector
	golden(t, "seal.json", &vs, func() { vs = makeSealVectors(t) })
	s := NewSealer(testKey())
	for _, v := range vs {
		t.Run(v.Name, func(t *testing.T) { checkSealVector(t, s, v) })
	}
}

func checkSealVector(t *testing.T, s *Sealer, v sealVector) {
	plain := v.plain(t)
	id, err := ParseID(v.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := Pointer{ID: id, Key: Key(unhex(t, v.Key))}
	sealed := unhex(t, v.Sealed)
	if v.Codec == codecRaw {
		got, out, err := s.Seal(nil, v.Type, plain)
		if err != nil || got != want {
			t.Fatalf("sealed to %v (%v), want %v", got, err, want)
		}
		if v.Sealed != "" && !bytes.Equal(out, sealed) {
			t.Fatal("sealed bytes differ")
		}
		sealed = out
	}
	back, err := s.Open(nil, want, v.Type, sealed)
	if err != nil || !bytes.Equal(back, plain) {
		t.Fatalf("does not open to what was sealed: %v", err)
	}
}

// TestSealByTheBook builds a chunk from the primitives as the package comment
// tells it.
func TestSealByTheBook(t *testing.T) {
	k, plain := testKey(), []byte("abc")
	payload := append([]byte{1, byte(ChunkTree), 0, 0, 3, 0, 0, 0}, plain...)
	hk, _ := hkdf.Key(sha256.New, k[:], nil, "bazil/v1/chunk", 32)
	h, _ := blake3.NewKeyed(hk)
	h.Write(payload)
	key := h.Sum(nil)
	aead, _ := chacha20poly1305.New(key)
	c := aead.Seal(nil, make([]byte, 12), payload, []byte{1})
	id := blake3.Sum256(append([]byte("bazil/v1/id"), c...))

	p, sealed, err := NewSealer(k).Seal(nil, ChunkTree, plain)
	if err != nil || !bytes.Equal(sealed, c) || p.ID != id || !bytes.Equal(p.Key[:], key) {
		t.Fatalf("Seal departs from the construction: %x (%v), want %x", sealed, err, c)
	}
}

func TestSealOpen(t *testing.T) {
	s := NewSealer(testKey())
	for _, n := range []int{0, 1, 63, 64, 65, 4095, sampleFrom - 1, sampleFrom, 100_000, MaxPlain} {
		for name, plain := range map[string][]byte{"noise": noise(n, 1), "prose": prose(n, 1), "zeros": make([]byte, n)} {
			pre := []byte("before")
			p, out, err := s.Seal(bytes.Clone(pre), ChunkData, plain)
			if err != nil || !bytes.HasPrefix(out, pre) {
				t.Fatalf("%s %d: seal: %v", name, n, err)
			}
			sealed := out[len(pre):]
			if len(sealed) > n+headerSize+tagLen {
				t.Errorf("%s %d: sealed to %d bytes", name, n, len(sealed))
			}
			back, err := s.Open(bytes.Clone(pre), p, ChunkData, sealed)
			if err != nil || !bytes.Equal(back, append(pre, plain...)) {
				t.Fatalf("%s %d: open: %v", name, n, err)
			}
			q, again, _ := NewSealer(testKey()).Seal(nil, ChunkData, plain)
			if q != p || !bytes.Equal(again, sealed) {
				t.Errorf("%s %d: another sealer of the key seals differently", name, n)
			}
		}
	}
	if _, _, err := s.Seal(nil, ChunkData, make([]byte, MaxPlain+1)); !errors.Is(err, ErrTooBig) {
		t.Errorf("too big: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	s, plain := NewSealer(testKey()), prose(5000, 7)
	p, sealed, _ := s.Seal(nil, ChunkData, plain)
	other := testKey()
	other[0]++
	for i := 0; i < len(sealed); i += 97 {
		bad := bytes.Clone(sealed)
		bad[i] ^= 0x10
		if _, err := s.Open(nil, p, ChunkData, bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("flip at %d: %v", i, err)
		}
		if _, err := s.openVerified(nil, p, ChunkData, bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("flip at %d, past the ID: %v", i, err)
		}
	}
	for name, open := range map[string]func() ([]byte, error){
		"other key":     func() ([]byte, error) { q := p; q.Key[3]++; return s.Open(nil, q, ChunkData, sealed) },
		"other ID":      func() ([]byte, error) { q := p; q.ID[3]++; return s.Open(nil, q, ChunkData, sealed) },
		"other type":    func() ([]byte, error) { return s.Open(nil, p, ChunkTree, sealed) },
		"other sharing": func() ([]byte, error) { return NewSealer(other).Open(nil, p, ChunkData, sealed) },
		"truncated":     func() ([]byte, error) { return s.Open(nil, p, ChunkData, sealed[:len(sealed)-1]) },
		"nothing":       func() ([]byte, error) { return s.Open(nil, p, ChunkData, nil) },
	} {
		if out, err := open(); !errors.Is(err, ErrDamaged) || len(out) != 0 {
			t.Errorf("%s: %d bytes, %v", name, len(out), err)
		}
	}
}

// sealPayload seals an arbitrary payload correctly: what a key holder who
// means harm can do.
func sealPayload(s *Sealer, payload []byte) (Pointer, []byte) {
	p := Pointer{Key: s.chunkKey(payload)}
	buf := append(make([]byte, 0, len(payload)+tagLen), payload...)
	out := s.aeadSeal(buf[:0], &p.Key, buf)
	p.ID = sealedID(out)
	return p, out
}

func TestOpenHostilePayload(t *testing.T) {
	s := NewSealer(testKey())
	bomb := newEncoder().EncodeAll(make([]byte, 4<<20), nil)
	small := newEncoder().EncodeAll(make([]byte, 1000), nil)
	head := func(version, typ, codec, zero byte, n uint32, content []byte) []byte {
		return append([]byte{version, typ, codec, zero, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}, content...)
	}
	for name, c := range map[string]struct {
		payload []byte
		want    error
	}{
		"no header":         {[]byte{1, 1}, ErrDamaged},
		"future version":    {head(2, 1, 0, 0, 0, nil), ErrVersion},
		"future codec":      {head(1, 1, 9, 0, 0, nil), ErrVersion},
		"reserved":          {head(1, 1, 0, 1, 0, nil), ErrDamaged},
		"raw too long":      {head(1, 1, 0, 0, 1, []byte("ab")), ErrDamaged},
		"raw too short":     {head(1, 1, 0, 0, 3, []byte("ab")), ErrDamaged},
		"states 4 GiB":      {head(1, 1, 1, 0, 1<<32-1, small), ErrDamaged},
		"bomb":              {head(1, 1, 1, 0, 1000, bomb), ErrDamaged},
		"two frames":        {head(1, 1, 1, 0, 1000, append(bytes.Clone(small), small...)), ErrDamaged},
		"frame then rubble": {head(1, 1, 1, 0, 1000, append(bytes.Clone(small), 1, 2, 3)), ErrDamaged},
		"not a frame":       {head(1, 1, 1, 0, 1000, noise(50, 1)), ErrDamaged},
	} {
		p, sealed := sealPayload(s, c.payload)
		if _, err := s.Open(nil, p, ChunkData, sealed); err != nil && len(sealed) < MinSealed && errors.Is(err, ErrDamaged) {
			continue
		} else if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := NewSealer(testKey())
	small := newEncoder().EncodeAll(make([]byte, 1000), nil)
	f.Add([]byte{1, 1, 0, 0, 2, 0, 0, 0, 'a', 'b'})
	f.Add(append([]byte{1, 1, 1, 0, 0xe8, 3, 0, 0}, small...))
	f.Fuzz(func(t *testing.T, payload []byte) {
		p, sealed := sealPayload(s, payload)
		out, err := s.Open(nil, p, ChunkData, sealed)
		if err == nil && payload[2] == codecRaw && !bytes.Equal(out, payload[headerSize:]) {
			t.Fatal("raw content changed")
		}
		if _, err := s.Open(nil, p, ChunkData, payload); err == nil {
			t.Fatal("opened what was not sealed")
		}
	})
}

func TestSecretsDoNotPrint(t *testing.T) {
	sk := testKey()
	p, _, _ := NewSealer(sk).Seal(nil, ChunkData, []byte("x"))
	secret := map[string]string{"sharing key": hex.EncodeToString(sk[:4]), "chunk key": hex.EncodeToString(p.Key[:4])}
	dec := map[string]string{"sharing key": "0 1 2 3", "chunk key": strings.Trim(fmt.Sprint(p.Key[:4]), "[]")}
	type nested struct {
		K SharingKey
		P Pointer
		L []Key
	}
	all := nested{sk, p, []Key{p.Key}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
		got := fmt.Sprintf(verb+" "+verb+" "+verb+" "+verb, sk, p, &p, all)
		for name := range secret {
			if strings.Contains(strings.ToLower(got), secret[name]) || strings.Contains(got, dec[name]) {
				t.Errorf("%s shows the %s: %s", verb, name, got)
			}
		}
	}
	b, err := json.Marshal(all)
	if err != nil || bytes.Contains(b, []byte("[0,1,2")) || !bytes.Contains(b, []byte(redacted)) {
		t.Errorf("JSON: %s %v", b, err)
	}
}

func TestPointerRoundTrip(t *testing.T) {
	p := Pointer{ID: ID{1, 2}, Key: Key{3, 4}}
	b := p.Append(nil)
	if q, err := ParsePointer(b); err != nil || q != p || len(b) != PointerSize {
		t.Errorf("round trip: %v %v", q, err)
	}
	if _, err := ParsePointer(b[1:]); err == nil {
		t.Error("short pointer accepted")
	}
	if id, err := ParseID(p.ID.String()); err != nil || id != p.ID {
		t.Errorf("ID round trip: %v %v", id, err)
	}
	for _, s := range []string{"", "12", strings.Repeat("g", 64), strings.Repeat("0", 66)} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q) accepted", s)
		}
	}
}

func TestSealAllocates(t *testing.T) {
	s := NewSealer(testKey())
	for name, plain := range map[string][]byte{"noise": noise(100<<10, 1), "prose": prose(100<<10, 1)} {
		var dst, back []byte
		var p Pointer
		seal := func() { p, dst, _ = s.Seal(dst[:0], ChunkData, plain) }
		open := func() { back, _ = s.Open(back[:0], p, ChunkData, dst) }
		seal()
		open()
		if raceEnabled {
			continue
		}
		// The cipher allocates its own key schedule, 32 bytes.
		if n := testing.AllocsPerRun(20, seal); n > 2 {
			t.Errorf("%s: Seal allocates %v times", name, n)
		}
		if n := testing.AllocsPerRun(20, open); n > 2 {
			t.Errorf("%s: Open allocates %v times", name, n)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	s := NewSealer(testKey())
	for _, size := range []int{4 << 10, 64 << 10, 256 << 10} {
		for _, kind := range []string{"noise", "prose"} {
			plain := noise(size, 1)
			if kind == "prose" {
				plain = prose(size, 1)
			}
			b.Run(fmt.Sprintf("%s/%dK", kind, size>>10), func(b *testing.B) {
				var dst []byte
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					_, dst, _ = s.Seal(dst[:0], ChunkData, plain)
				}
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s := NewSealer(testKey())
	for _, kind := range []string{"noise", "prose"} {
		plain := noise(256<<10, 1)
		if kind == "prose" {
			plain = prose(256<<10, 1)
		}
		p, sealed, _ := s.Seal(nil, ChunkData, plain)
		b.Run(kind, func(b *testing.B) {
			var dst []byte
			b.SetBytes(256 << 10)
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = s.Open(dst[:0], p, ChunkData, sealed)
			}
		})
	}
}

func appendHex(b []byte) []byte { return hex.AppendEncode(nil, b) }

// Sealing with the sum known gives the same chunk, and the sum is the key of
// what does not compress.
func TestSealSummed(t *testing.T) {
	s := NewSealer(testKey())
	for name, plain := range map[string][]byte{
		"empty": nil, "short": []byte("short"), "noise": noise(100_000, 7), "zeros": make([]byte, 50_000),
	} {
		for _, typ := range []ChunkType{ChunkData, ChunkExtents} {
			sum := s.Sum(typ, plain)
			want, wantSealed, err := s.Seal(nil, typ, plain)
			if err != nil {
				t.Fatal(err)
			}
			got, sealed, err := s.SealSummed(nil, typ, plain, sum)
			if err != nil || got != want || !bytes.Equal(sealed, wantSealed) {
				t.Errorf("%s as %v: another chunk with its sum: %v", name, typ, err)
			}
			if raw := len(sealed) == headerSize+len(plain)+tagLen; raw != (sum == want.Key) {
				t.Errorf("%s as %v: not compressed: %v, sum is the key: %v", name, typ, raw, !raw)
			}
		}
	}
}

// What has few different bytes is compressed without a sample.
func TestFewBytes(t *testing.T) {
	text := bytes.Repeat([]byte("few different bytes. "), 5000)
	if !fewBytes(text) || fewBytes(noise(100_000, 1)) {
		t.Errorf("text has few: %v, noise has: %v", fewBytes(text), fewBytes(noise(100_000, 1)))
	}
}
