package config

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	applicationPattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)
	namePattern        = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)
	workerPattern      = regexp.MustCompile(`^[a-zA-Z0-9_.:-]{1,128}$`)
	externalIDPattern  = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
	sessionPattern     = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// ownNames are values of the metrics' label "source" that are no source's.
var ownNames = []string{"base", "base_role"}

// addf adds a problem at the place of path, or of what encloses it when path
// is not in the file. What the decoder has reported already is not said twice.
func (l *loading) addf(path, format string, args ...any) {
	if l.reported[path] || l.isSkipped(path) {
		return
	}
	s, ok := l.places[path]
	for above := path; !ok; {
		above = parent(above)
		s, ok = l.places[above]
		if above == "" && !ok {
			s = l.places[""]
			break
		}
	}
	l.problems = append(l.problems, Problem{s.d.file, s.n.line, s.n.column, s.d.shown(path), fmt.Sprintf(format, args...)})
}

func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

func (l *loading) isSkipped(path string) bool {
	for ; path != ""; path = parent(path) {
		if l.skipped[path] {
			return true
		}
	}
	return false
}

// names says whether the file itself has path.
func (l *loading) names(path string) bool {
	_, ok := l.places[path]
	return ok
}

// reportedBelow says whether something in path has a problem.
func (l *loading) reportedBelow(path string) bool {
	for reported := range l.reported {
		if strings.HasPrefix(reported, path) {
			return true
		}
	}
	return false
}

// found is what stands at path, as a message may show it.
func (l *loading) found(path string) string {
	if s, ok := l.places[path]; ok {
		return s.n.found()
	}
	return "nothing"
}

// validate checks what the types alone cannot say.
func (l *loading) validate(c *Config) {
	l.application(c)
	if c.AWS.Role != nil {
		l.role("aws.role", c.AWS.Role, 12*time.Hour)
	}
	l.leases(c)
	l.sources(c)
	if c.Pipeline.Window < MiB {
		l.addf("pipeline.window", "%s is too small: at least 1MiB", l.found("pipeline.window"))
	}
	l.positive("pipeline.drain_timeout", c.Pipeline.DrainTimeout)
	l.delivery("delivery", &c.Delivery, true)
	l.eachDestination(c)
	l.queues(c)
	l.views(c)
	l.listen("listen.metrics", c.Listen.Metrics)
	if c.Listen.API != "" {
		l.listen("listen.api", c.Listen.API)
	}
	if c.Listen.API == c.Listen.Metrics && !strings.HasSuffix(c.Listen.API, ":0") {
		l.addf("listen.api", "it is the address of listen.metrics; the API needs one of its own")
	}
	if c.Listen.Token.IsSet() && !l.secretSet("listen.token", c.Listen.Token) {
		l.addf("listen.token", "it is empty: leave it out where nothing is to be changed through the API")
	}
}

func (l *loading) application(c *Config) {
	const longest = 255 - len("-state") // the state table's name has it
	switch {
	case !applicationPattern.MatchString(c.Application):
		l.addf("application", "%s is not allowed; allowed: 3 to %d letters, digits, _ . -, since it names tables", l.found("application"), longest)
	case len(c.Application) > longest:
		l.addf("application", "it is longer than %d characters, which leaves no room for the state table's name", longest)
	}
	if c.WorkerID != "" && !workerPattern.MatchString(c.WorkerID) {
		l.addf("worker_id", "%s is not allowed; allowed: at most 128 letters, digits, - _ . :", l.found("worker_id"))
	}
	if c.Region != "" && !regionPattern.MatchString(c.Region) {
		l.addf("region", "%s is not a region such as eu-west-1", l.found("region"))
	}
}

func (l *loading) role(path string, r *Role, most time.Duration) {
	if r.ARN != "" {
		parts, wrong := splitARN(r.ARN, "iam")
		switch {
		case wrong != "":
		case parts[2] != "":
			wrong = "a role's ARN has no region"
		case !roleNamePattern.MatchString(parts[4]):
			wrong = "the resource is not role/NAME"
		}
		if wrong != "" {
			l.addf(path+".arn", "%s is not a role's ARN (arn:aws:iam::ACCOUNT:role/NAME): %s", l.found(path+".arn"), wrong)
		}
	} else {
		l.addf(path+".arn", "it is required, and empty")
	}
	if r.ExternalID != "" && (!externalIDPattern.MatchString(r.ExternalID) || len(r.ExternalID) > 1224) {
		l.addf(path+".external_id", "%s is not allowed; allowed: 2 to 1224 letters, digits, _ + = , . @ : / -", l.found(path+".external_id"))
	}
	if l.names(path+".session_name") && r.SessionName != "" && !sessionPattern.MatchString(r.SessionName) {
		l.addf(path+".session_name", "%s is not allowed; allowed: 2 to 64 letters, digits, _ + = , . @ -", l.found(path+".session_name"))
	}
	const least = 15 * time.Minute
	switch {
	case r.Duration < least || r.Duration > 12*time.Hour:
		l.addf(path+".duration", "%s is not allowed; allowed: 15m to 12h", l.found(path+".duration"))
	case r.Duration > most:
		l.addf(path+".duration", "%s is not allowed; allowed: 1h at most for a role that is assumed with a role's credentials (aws.role)", l.found(path+".duration"))
	}
}

func (l *loading) leases(c *Config) {
	table := c.LeaseTable()
	if l.names("leases.table") && !applicationPattern.MatchString(table) {
		l.addf("leases.table", "%s is not allowed; allowed: 3 to 255 letters, digits, _ . -", l.found("leases.table"))
	}
	if table == c.StateTable() {
		l.addf("leases.table", "%s is the name of the state table", l.found("leases.table"))
	}
	if c.Leases.Failover < time.Second {
		l.addf("leases.failover", "%s is too short: at least 1s, since an ordinary pause of the network or the process would cost leases", l.found("leases.failover"))
	}
	if c.Leases.Failover > time.Hour {
		l.addf("leases.failover", "%s is too long: at most 1h, since the shards of a dead worker wait for it", l.found("leases.failover"))
	}
	l.least("leases.max_leases", c.Leases.MaxLeases, 0)
	if c.Leases.SharedWithKCL && c.Leases.Store == StoreMemory {
		l.addf("leases.shared_with_kcl", "KCL workers cannot share leases.store: %s: use %s", StoreMemory, StoreDynamoDB)
	}
	if c.Leases.KeyFormat == SingleStream && len(c.Sources) > 1 {
		l.addf("leases.key_format", "%s takes exactly one source, and there are %d: %s is for several", l.found("leases.key_format"), len(c.Sources), MultiStream)
	}
}

func (l *loading) sources(c *Config) {
	if len(c.Sources) == 0 {
		l.addf("sources", "at least one source is required")
	}
	known := l.destinationNames(c)
	l.unnamed = slices.ContainsFunc(c.Destinations, func(d Destination) bool { return d.Name == "" }) || l.reportedBelow("destinations_files")
	names, streams := map[string]string{}, map[StreamARN]string{}
	most := 12 * time.Hour
	if c.AWS.Role != nil {
		most = time.Hour
	}
	for i := range c.Sources {
		s, path := &c.Sources[i], fmt.Sprintf("sources[%d]", i)
		l.name(path+".name", s.Name, names)
		if slices.Contains(ownNames, s.Name) {
			l.addf(path+".name", "%s is not allowed: in metrics it is the name of Shardline's own credentials", l.found(path+".name"))
		}
		if s.Stream != (StreamARN{}) {
			if first, taken := streams[s.Stream]; taken {
				l.addf(path+".stream", "the same stream as %s: a stream belongs to one source", l.where(first, path))
			} else {
				streams[s.Stream] = path
			}
		}
		if s.Role != nil {
			l.role(path+".role", s.Role, most)
		}
		if s.PollInterval < 200*time.Millisecond || s.PollInterval > 4*time.Minute {
			l.addf(path+".poll_interval", "%s is not allowed; allowed: 200ms to 4m, since a shard answers five reads a second and an iterator lives five minutes", l.found(path+".poll_interval"))
		}
		switch consumer := s.Consumer(c); {
		case s.ConsumerName != "" && s.Read == ReadPolling && !l.reportedBelow(path+".read"):
			l.addf(path+".consumer_name", "it has no meaning with read: %s: leave it out, or set read: %s", ReadPolling, ReadEnhancedFanOut)
		case s.ConsumerName != "" && !streamNamePattern.MatchString(s.ConsumerName):
			l.addf(path+".consumer_name", "%s is not allowed; allowed: 1 to 128 letters, digits, _ . -", l.found(path+".consumer_name"))
		case len(consumer) > 128 && s.ConsumerName == "":
			l.addf(path+".read", "the application's name is longer than the 128 characters that a stream consumer's may have: set consumer_name")
		}
		l.key(path+".key", s.Key)
		if s.Deduplicate != nil {
			l.key(path+".deduplicate.by", s.Deduplicate.By)
			if window := s.Deduplicate.Window; window < time.Second || window > 24*time.Hour {
				l.addf(path+".deduplicate.window", "%s is not allowed; allowed: 1s to 24h", l.found(path+".deduplicate.window"))
			}
		}
		l.subscribers(c, s, path+".subscribers", known)
		switch {
		case s.DeadLetters != "":
			l.queue(c, path+".dead_letters", s.DeadLetters)
		case s.Key != KeyPartitionKey && !l.reportedBelow(path+".key"):
			l.addf(path+".dead_letters", "a dead letter queue is required with key: %s, for records that cannot be keyed", l.keyShown(path+".key"))
		}
	}
}

// destinationNames are the names that a message may show.
func (l *loading) destinationNames(c *Config) (known []string) {
	for i := range c.Destinations {
		if at := fmt.Sprintf("destinations[%d].name", i); l.names(at) && !l.places[at].n.expanded() {
			known = append(known, c.Destinations[i].Name)
		}
	}
	return known
}

func (l *loading) subscribers(c *Config, s *Source, path string, known []string) {
	if s.Subscribers.All {
		if len(c.Destinations) == 0 {
			l.addf(path, "all_destinations, and there is no destination")
		}
		return
	}
	if len(s.Subscribers.Names) == 0 && !c.viewed(s.Name) {
		switch {
		case l.names(path):
			l.addf(path, "at least one destination is required, or a view with this source as its input")
		default:
			l.addf(path, "it is required, and missing")
		}
	}
	destinations, seen := map[string]bool{}, map[string]bool{}
	for i := range c.Destinations {
		destinations[c.Destinations[i].Name] = true
	}
	for j, name := range s.Subscribers.Names {
		at := fmt.Sprintf("%s[%d]", path, j)
		switch {
		case !destinations[name]:
			if l.reported["destinations"] || l.reported["destinations_files"] || l.unnamed {
				break // it may be one of those that could not be read
			}
			suggestion := ""
			if site, ok := l.places[at]; ok {
				suggestion = site.d.suggest(site.n, known)
			}
			l.addf(at, "there is no destination named %s%s", l.found(at), suggestion)
		case seen[name]:
			l.addf(at, "%s stands in this list twice", l.found(at))
		}
		seen[name] = true
	}
}

// name checks a name and that it is the first of its kind.
func (l *loading) name(path, name string, taken map[string]string) {
	switch {
	case !namePattern.MatchString(name):
		l.addf(path, "%s is not allowed; allowed: 1 to 64 letters, digits, - _ . that begin with a letter or digit", l.found(path))
	case taken[name] != "":
		l.addf(path, "%s is the name of %s too", l.found(path), l.where(taken[name], path))
	default:
		taken[name] = parent(path)
	}
}

// where says which item path is, seen from another one.
func (l *loading) where(path, from string) string {
	s, ok := l.places[path]
	switch {
	case !ok:
		return path
	case l.places[from].d != s.d:
		return fmt.Sprintf("the one in %s:%d", s.d.file, s.n.line)
	}
	return fmt.Sprintf("%s in line %d", path, s.n.line)
}

// queue checks a reference to a dead letter queue.
func (l *loading) queue(c *Config, path, name string) {
	if c.DeadLetterQueue(name) != nil || l.reported["dead_letter_queues"] ||
		slices.ContainsFunc(c.DeadLetterQueues, func(q DeadLetterQueue) bool { return q.Name == "" }) {
		return
	}
	var known []string
	for i := range c.DeadLetterQueues {
		if at := fmt.Sprintf("dead_letter_queues[%d].name", i); l.names(at) && !l.places[at].n.expanded() {
			known = append(known, c.DeadLetterQueues[i].Name)
		}
	}
	suggestion := ""
	if site, ok := l.places[path]; ok {
		suggestion = site.d.suggest(site.n, known)
	}
	l.addf(path, "there is no dead letter queue named %s%s", l.found(path), suggestion)
}

func (l *loading) positive(path string, value time.Duration) {
	if value <= 0 {
		l.addf(path, "%s is not allowed; allowed: above 0", l.found(path))
	}
}

func (l *loading) least(path string, value, least int) {
	if value < least {
		l.addf(path, "%s is not allowed; allowed: at least %d", l.found(path), least)
	}
}

func (l *loading) listen(path, address string) {
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || number > 65535 || strings.ContainsAny(host, " /") {
		l.addf(path, "%s is not an address; allowed: host:port, such as 127.0.0.1:9464", l.found(path))
	}
}
