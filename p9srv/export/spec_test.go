package export

import (
	"slices"
	"strings"
	"testing"
)

func TestSpecWords(t *testing.T) {
	words := []string{"volume=files/sub", "ro", "insecure", "owner=1000:100", "conns=3"}
	s, err := ParseSpec("vm", "tcp!192.0.2.1!5640", words)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Words(); !slices.Equal(got, words) {
		t.Errorf("words %q came back as %q", words, got)
	}
}

func TestSpecRefuses(t *testing.T) {
	for _, c := range []struct{ name, dial, words, want string }{
		{"", "unix!/s", "", "name"},
		{"a/b", "unix!/s", "", "name"},
		{"x", "/s", "", "dial string"},
		{"x", "unix!s", "", "begin with a slash"},
		{"x", "tcp!127.0.0.1", "", "tcp!HOST!PORT"},
		{"x", "tcp!127.0.0.1!99999", "", "port"},
		{"x", "tcp!192.0.2.1!5640", "", "insecure"},
		{"x", "tcp!*!5640", "", "insecure"},
		{"x", "vsock!x", "", "no number"},
		{"x", "udp!h!1", "", "none of"},
		{"x", "unix!/s", "owner=1", "UID:GID"},
		{"x", "unix!/s", "conns=0", "from 1"},
		{"x", "unix!/s", "rw", "no option"},
		{"x", "unix!/s", "ro=no", "stands alone"},
		{"x", "unix!/s", "volume=", "volume=NAME"},
		{"x", "unix!/s", "volume=/a", "volume=NAME"},
		{"x", "unix!/s", "volume=files/../other", "no names . and .."},
	} {
		_, err := ParseSpec(c.name, c.dial, strings.Fields(c.words))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("ParseSpec(%q, %q, %q): %v, want something about %q", c.name, c.dial, c.words, err, c.want)
		}
	}
}
