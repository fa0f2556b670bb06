package p9test

import (
	"bufio"
	"os"
	"slices"
	"strings"
)

// Spoken lists the messages of 9P that conversations hold: DIALECT, the message,
// and "done" or "refused" as it was answered.
func Spoken(files []string) ([]string, error) {
	s := speech{seen: make(map[string]bool)}
	for _, file := range files {
		if err := s.listen(file); err != nil {
			return nil, err
		}
	}
	var all []string
	for m := range s.seen {
		all = append(all, m)
	}
	slices.Sort(all)
	return all, nil
}

// speech follows the messages of conversations.
type speech struct {
	seen    map[string]bool
	version map[string]string // of each connection
	conn    string
	asked   []string // not answered yet, oldest first
}

func (s *speech) listen(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	s.version, s.conn, s.asked = make(map[string]string), "", nil
	in := bufio.NewScanner(f)
	for in.Scan() {
		words := append(splitFields(in.Text()), "", "")
		switch words[0] {
		case "connect":
			s.conn, s.asked = words[1], nil
		case ">":
			s.ask(words[1:])
		case "<":
			s.answer(words[1])
		}
	}
	return in.Err()
}

// ask notes a request. One of the next dialect is a Tversion itself.
func (s *speech) ask(words []string) {
	if words[0] == "Tversion" {
		for _, w := range words {
			if v, ok := strings.CutPrefix(w, "version="); ok {
				s.version[s.conn] = v
			}
		}
	}
	s.asked = append(s.asked, words[0])
}

// answer notes what a reply says of the request that it may be for.
func (s *speech) answer(reply string) {
	how := "done"
	i := 0
	if strings.HasSuffix(reply, "error") {
		how = "refused"
	} else {
		i = slices.Index(s.asked, "T"+reply[1:])
	}
	if i < 0 || i >= len(s.asked) {
		return
	}
	s.seen[s.version[s.conn]+" "+s.asked[i]+" "+how] = true
	s.asked = slices.Delete(s.asked, i, i+1)
}
