// Package fusemount mounts a 9P tree through FUSE.
package fusemount
