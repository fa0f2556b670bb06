// Package vol is a volume: a tree of directories and files that one device
// holds, made durable in commit groups.
package vol
