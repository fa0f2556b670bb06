// Package p9srv is a 9P server.
package p9srv
