package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// Bounds of one request: a peer that stalls holds a connection no longer.
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute // above the usual scrape interval
	maxHeaderBytes    = 16 << 10

	// shutdownTimeout is how long an answer that has begun may still take.
	shutdownTimeout = 5 * time.Second
)

// Listener answers HTTP requests at one address.
type Listener struct {
	what     string // metrics or api: for errors
	address  string
	logger   *zap.Logger
	http     *http.Server
	listener net.Listener // owned by Run once it is called
}

// NewListener wires what answers at an address, host:port, with a handler, and
// starts nothing. Port 0: the kernel chooses.
func NewListener(what, address string, handler http.Handler, logger *zap.Logger) *Listener {
	errorLog, err := zap.NewStdLogAt(logger, zapcore.DebugLevel)
	if err != nil { // only for a level that does not exist
		panic(err)
	}
	return &Listener{what: what, address: address, logger: logger, http: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          errorLog, // a peer's broken requests: nothing to act on
	}}
}

// Listen takes the address and returns it, with the port that the kernel chose
// for port 0. Nothing is answered before Run.
func (l *Listener) Listen() (string, error) {
	if l.listener != nil {
		return l.listener.Addr().String(), nil
	}
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		return "", fmt.Errorf("listen for %s on %s: %w", l.what, l.address, err)
	}
	l.listener = listener
	return listener.Addr().String(), nil
}

// Close gives the address back when Run was never called; after Run it does
// nothing.
func (l *Listener) Close() error {
	if l.listener == nil {
		return nil
	}
	if err := l.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the %s listener: %w", l.what, err)
	}
	return nil
}

// Run serves until ctx ends, then lets answers that have begun finish, for
// five seconds at most. It is meant to be the last part of a worker to stop,
// so that the drain can be watched. It listens first unless Listen has.
func (l *Listener) Run(ctx context.Context) error {
	if _, err := l.Listen(); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- l.http.Serve(l.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s on %s: %w", l.what, l.listener.Addr(), err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := l.http.Shutdown(deadline)
	if errors.Is(err, context.DeadlineExceeded) {
		l.logger.Warn("server closed with requests in flight", zap.String("server", l.what))
		err = l.http.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("shut down the %s server: %w", l.what, err)
	}
	return nil
}
