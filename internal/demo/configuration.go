package demo

import (
	"fmt"
	"strings"
)

// configuration is the workers' file: what a user would write for two streams
// and ten destinations. Each worker's environment says where its dead letters
// go and where it listens.
func configuration(c *cloud, destinations []destination) string {
	var b strings.Builder
	fmt.Fprintf(&b, `application: %s
worker_id: ${DEMO_WORKER}
region: %s
leases: {failover: 3s}
pipeline: {drain_timeout: 10s}
listen: {metrics: "${DEMO_METRICS}", api: ""}
log: {level: info, format: json}
sources:
`, application, region)
	for i, arn := range c.streams {
		fmt.Fprintf(&b, `  - name: %s
    stream: %s
    role: {arn: %q, external_id: %s}
    initial_position: trim_horizon
    poll_interval: 200ms
    key: hotel_code
    subscribers: all_destinations
    dead_letters: failed
`, arn[strings.LastIndex(arn, "/")+1:], arn, c.readers[i], externalID)
	}
	b.WriteString(`delivery:
  timeout: 5s
  response: opentravel
  retry: {initial: 100ms, max: 1s}
destinations:
`)
	for _, d := range destinations {
		fmt.Fprintf(&b, "  - {name: %s, type: http, url: %q, dead_letters: failed}\n", d.Name, d.url)
	}
	b.WriteString(`dead_letter_queues:
  - {name: failed, type: file, path: "${DEMO_DIR}/failed-${DEMO_WORKER}.jsonl"}
`)
	return b.String()
}
