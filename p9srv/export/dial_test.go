package export

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestDial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	onUnix, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer onUnix.Close()
	onTCP, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer onTCP.Close()
	_, port, _ := net.SplitHostPort(onTCP.Addr().String())
	for _, dial := range []string{"unix!" + path, "tcp!127.0.0.1!" + port, "tcp!localhost!" + port} {
		c, err := Dial(context.Background(), dial)
		if err != nil {
			t.Errorf("%s: %v", dial, err)
			continue
		}
		c.Close()
	}
}

func TestDialRefuses(t *testing.T) {
	for dial, want := range map[string]string{
		"":                    "want unix!/PATH, tcp!HOST!PORT or vsock!CID!PORT",
		"/run/9p.sock":        "want unix!",
		"unix!9p.sock":        "must begin with a slash",
		"unix!/no/such/sock":  "no such file",
		"tcp!localhost":       "want tcp!HOST!PORT",
		"tcp!localhost!9p":    "the port a number",
		"tcp!localhost!70000": "the port a number",
		"vsock!5640":          "want vsock!CID!PORT in numbers",
		"vsock!host!5640":     "want vsock!CID!PORT in numbers",
		"fd!3":                "want unix!",
	} {
		c, err := Dial(context.Background(), dial)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something about %q", dial, err, want)
		}
	}
}
