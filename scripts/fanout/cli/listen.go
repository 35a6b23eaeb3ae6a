package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/internal/door"
)

// listen opens a TCP port; flag is the flag that chooses another. Unless exposed is true, other machines must not reach it.
func listen(addr, flag string, exposed bool) (net.Listener, error) {
	l, err := door.Listen(addr, exposed)
	if err != nil {
		return nil, notListening(err, flag)
	}
	return l, nil
}

// addExpose adds the flag that lets what asks for no key listen where other machines reach it; what says which of the command's servers that is.
func addExpose(cmd *cobra.Command, exposed *bool, what string) {
	cmd.Flags().BoolVar(exposed, "expose", false, "let other machines reach "+what)
}

// notListening adds the most likely cause of a port that can't be listened on.
func notListening(err error, flag string) error {
	if _, exposed := errors.AsType[*door.ExposedError](err); exposed {
		return &exitError{exitUsage, &hinted{fmt.Errorf("%s: %w", flag, err), "listen on 127.0.0.1; or, where only friends reach the port, as in a container, say --expose too"}}
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return &hinted{fmt.Errorf("%s: %w", flag, err), fmt.Sprintf("%s wants HOST:PORT, such as 127.0.0.1:0 for any free port", flag)}
	}
	return &hinted{err, fmt.Sprintf("something else may use the port; choose another with %s, such as %s 127.0.0.1:0", flag, flag)}
}

// encryption are the flags of a certificate.
type encryption struct{ cert, key string }

func (e *encryption) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.cert, "tls-cert", "", "encrypt with the certificate in this `FILE`; it is read again when it changes")
	cmd.Flags().StringVar(&e.key, "tls-key", "", "`FILE` of the certificate's private key")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
}

// config is nil without a certificate.
func (e *encryption) config(logger *slog.Logger) (*tls.Config, error) {
	if e.cert == "" {
		return nil, nil
	}
	config, err := door.Certificates(e.cert, e.key, logger, "h2", "http/1.1")
	if err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	return config, nil
}
