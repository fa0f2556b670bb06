package noiseconn

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParsePublicKeySaysWhatIsWrong(t *testing.T) {
	good := strings.Repeat("0a", 32)
	for in, want := range map[string]string{
		good[:62]:                      "public key has 62 hex digits, want 64",
		good + "0":                     "public key has 65 hex digits, want 64",
		"":                             "public key has 0 hex digits, want 64",
		good[:10] + "g" + good[11:]:    "public key has 'g' at position 11, want hex digits only",
		good + "\n":                    `public key has '\n' at position 65, want hex digits only`,
		strings.Repeat("0", 64):        "public key is all zeros, which is nobody's",
		"white":                        "public key has 'w' at position 1, want hex digits only",
		strings.Repeat("\xff", 64):     `public key has '�' at position 1, want hex digits only`,
		strings.Repeat("a", 1_000_000): "public key has 1000000 hex digits, want 64",
	} {
		if _, err := ParsePublicKey(in); err == nil || err.Error() != want {
			t.Errorf("ParsePublicKey(%.70q): %v, want %q", in, err, want)
		}
	}
}

func TestPublicKeyText(t *testing.T) {
	k := NewSecretKey().Public()
	back, err := ParsePublicKey(strings.ToUpper(k.String()))
	if err != nil || back != k {
		t.Fatalf("%v read back as %v, %v", k, back, err)
	}
	js, err := json.Marshal(k)
	if err != nil || string(js) != `"`+k.String()+`"` {
		t.Fatalf("json %s, %v", js, err)
	}
	if err := json.Unmarshal(js, &back); err != nil || back != k {
		t.Fatalf("json read back as %v, %v", back, err)
	}
	if !strings.HasPrefix(k.String(), k.Short()) || len(k.Short()) != 8 {
		t.Errorf("short form of %v is %q", k, k.Short())
	}
}

// The public key is what OpenSSL derives from the secret key 00 01 ... 1f.
func TestPublicIsX25519(t *testing.T) {
	var s SecretKey
	for i := range s {
		s[i] = byte(i)
	}
	const want = "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f"
	if got := s.Public().String(); got != want {
		t.Errorf("public key %s, want %s", got, want)
	}
}

func TestSecretKeyNeverPrints(t *testing.T) {
	s := NewSecretKey()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%T"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", struct{ K SecretKey }{s})
		fmt.Fprintf(&out, verb+"\n", Config{Key: s})
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "key", s, "in", struct{ K SecretKey }{s}, "ptr", &s)
	}
	js, _ := json.Marshal(struct{ K SecretKey }{s})
	out.Write(js)
	for _, leak := range []string{
		hex.EncodeToString(s[:8]), strings.ToUpper(hex.EncodeToString(s[:8])), string(s[:8]),
		fmt.Sprintf("%d, %d, %d", s[0], s[1], s[2]), fmt.Sprintf("%d,%d,%d", s[0], s[1], s[2]),
		strings.Trim(fmt.Sprint([]byte(s[:4])), "[]"), fmt.Sprintf("%#x, %#x", s[0], s[1]),
	} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("the key printed as %q", leak)
		}
	}
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add(strings.Repeat("0a", 32))
	f.Add("zz")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParsePublicKey(s)
		if err == nil && k.String() != strings.ToLower(s) {
			t.Errorf("%q reads as %v", s, k)
		}
	})
}
