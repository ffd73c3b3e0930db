package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/cmd/shardline/config"
)

const (
	// healthTimeout is below the usual time-out of a container's health check.
	healthTimeout = 3 * time.Second
	// maxHealthAnswer is above the answer of a worker with a thousand
	// destinations.
	maxHealthAnswer = 1 << 20
)

// newHealthCommand asks a worker whether it is ready: a health check for
// containers that have no shell and no curl.
func newHealthCommand(env environment) *cobra.Command {
	var url, file string
	command := &cobra.Command{
		Use:   "health",
		Short: "Ask a running worker whether it is ready; exit 1 if it is not",
		Long: `Asks the worker's /readyz and exits 0 when it is ready, 1 with the reason when
it is not or does not answer within 3 seconds. A worker is ready when its
configuration is loaded and its lease table can be reached; a source or a
destination that is down does not count. To ask whether the process is stuck,
give the URL of /healthz.

The address is --url, else listen.metrics of the configuration (--config, or the
text in SHARDLINE_CONFIG), else the default of listen.metrics.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if url == "" {
				url = "http://" + healthAddress(env, file) + "/readyz"
			}
			if err := askHealth(command.Context(), url); err != nil {
				return err
			}
			_, err := fmt.Fprintln(env.stdout, "ready")
			return err
		},
	}
	command.Flags().StringVar(&url, "url", "", "address to ask, such as http://127.0.0.1:9464/readyz")
	command.Flags().StringVarP(&file, "config", "c", "", "configuration file whose listen.metrics is asked; - reads standard input")
	command.MarkFlagsMutuallyExclusive("url", "config")
	return command
}

// healthAddress is where the worker of this configuration listens, seen from
// the same host. A configuration that cannot be loaded is said and is no
// verdict: the worker may run on an earlier, good one, and must not be killed
// for an edit.
func healthAddress(env environment, file string) string {
	address := config.Default().Listen.Metrics
	if file != "" || env.getenv(config.Variable) != "" {
		c, err := config.Load(file, env.getenv, env.stdin)
		if err != nil {
			fmt.Fprintf(env.stderr, "shardline: asking %s, because the configuration cannot be loaded: %v\n", address, err)
		} else {
			address = c.Listen.Metrics
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // it listens on every interface
		if strings.Contains(address, "[::]") {
			host = "localhost" // of which family, the system says
		}
	}
	return net.JoinHostPort(host, port)
}

// askHealth returns nil when url answers 2xx, else the reason.
func askHealth(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	// No proxy: the worker is this machine's. No redirects: a worker sends none.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("health: the worker does not answer: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHealthAnswer))
	if err != nil {
		return fmt.Errorf("health: read the answer of %s: %w", url, err)
	}
	if response.StatusCode/100 == 2 {
		return nil
	}
	return fmt.Errorf("not ready (%s): %s", response.Status, healthReason(body))
}

// healthReason is the reason in the answer of /readyz, else its first line.
func healthReason(body []byte) string {
	var answer struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Reason != "" {
		return answer.Reason
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	const enough = 200
	if len(line) > enough {
		line = line[:enough] + "…"
	}
	if line == "" {
		return "no reason given"
	}
	return line
}
