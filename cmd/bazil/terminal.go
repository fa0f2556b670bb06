package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// isTerminal tells whether somebody sits at the other end of a file.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// askSecret reads a line from the terminal without showing it.
func askSecret(prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errors.New("there is no terminal to ask at: give it by --passphrase-file, or in $BAZIL_PASSPHRASE")
	}
	defer tty.Close()
	old, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	quiet := *old
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETSF, &quiet); err != nil {
		return nil, err
	}
	defer unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETSF, old)
	fmt.Fprint(tty, prompt)
	line, err := readLine(tty)
	fmt.Fprintln(tty)
	return []byte(strings.TrimRight(line, "\r\n")), err
}

// readLine reads a line unless an interrupt comes first.
func readLine(tty *os.File) (string, error) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	lines := make(chan string, 1)
	go func() { // ends with the line, or with the program
		line, _ := bufio.NewReader(tty).ReadString('\n')
		lines <- line
	}()
	select {
	case line := <-lines:
		return line, nil
	case <-stop:
		return "", errors.New("interrupted")
	}
}
