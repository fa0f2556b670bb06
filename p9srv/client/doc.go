// Package client is a pipelined 9P2000.L client.
package client
