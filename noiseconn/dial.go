package noiseconn

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Dial connects to the device that listens at addr (host:port) and holds the
// key remote. It returns when both keys are proved; whether the other side
// lets this device in is known by then too. The error is ErrRefused when it
// does not.
func Dial(ctx context.Context, cfg Config, addr string, remote PublicKey) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.timeout())
	defer cancel()
	d := net.Dialer{KeepAliveConfig: keepAlive()}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("noise: %w", err)
	}
	bound(raw)
	c, err := Client(ctx, raw, cfg, remote)
	if err != nil {
		return nil, fmt.Errorf("noise: dial %s: %w", addr, err)
	}
	return c, nil
}

// Client is Dial over a connection that exists. It owns raw, and closes it
// when the handshake fails or ctx ends before it is done.
func Client(ctx context.Context, raw net.Conn, cfg Config, remote PublicKey) (*Conn, error) {
	raw.SetDeadline(time.Now().Add(cfg.timeout()))
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	c, err := initiate(raw, cfg, remote, fastSuites())
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}
