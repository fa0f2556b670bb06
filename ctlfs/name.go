package ctlfs

import (
	"strings"
	"syscall"
)

// MaxName is the greatest length of an object's name in bytes: what a file
// name of Linux may have, as each object is a directory here.
const MaxName = 255

// CheckName says what is wrong with name for a new object; what names the
// kind of object in the error ("volume", "peer").
func CheckName(what, name string) error {
	var why string
	switch {
	case name == "":
		why = "is empty"
	case name == "." || name == "..":
		why = "has a meaning as a path"
	case name == "ctl":
		why = "is the control directory's"
	case strings.Contains(name, "/"):
		why = "has a slash in it"
	case strings.ContainsFunc(name, control):
		why = "has a control character in it"
	case len(name) > MaxName:
		return Errorf(syscall.ENAMETOOLONG, "%s name of %d bytes is too long: take at most %d", what, len(name), MaxName)
	default:
		return nil
	}
	return Errorf(syscall.EINVAL, "%s name %q %s: choose another", what, name, why)
}

func control(r rune) bool { return r < ' ' || r == 0x7f }
