package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

// triedAtOnce bounds the sources and tables that are tried at the same time.
const triedAtOnce = 8

// The results of a check.
const (
	resultOK       = "ok"
	resultMissing  = "missing" // a permission
	resultFailed   = "failed"
	resultNotTried = "not_tried"
	resultWarning  = "warning" // what works, and may not be meant
)

// triedLine is what came of one check. Fields are added, never renamed.
type triedLine struct {
	Thing   string `json:"thing"`
	Check   string `json:"check"`
	Of      string `json:"of"`
	Result  string `json:"result"`
	Missing string `json:"missing"` // the permission, by its name in policies
	Text    string `json:"text"`    // what the answer says, or why it was not tried
	Do      string `json:"do"`
}

func (l *triedLine) good() bool {
	return l.Result == resultOK || l.Result == resultNotTried || l.Result == resultWarning
}

// needOwn is why something is not tried.
const needOwn = "it needs Shardline's own credentials"

// tryAWS tries what the configuration names, all of it whatever fails, and
// changes nothing.
func tryAWS(ctx context.Context, cfg *config.Config) ([]triedLine, error) {
	start, stop := refreshing(ctx)
	defer stop()
	own, base, who, lines, err := tryOwn(ctx, cfg, start)
	if err != nil {
		return nil, err
	}
	// One slot for each thing: the order is the configuration's.
	slots := make([][]triedLine, len(cfg.Sources)+1)
	var g errgroup.Group
	g.SetLimit(triedAtOnce)
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		thing := "source " + s.Name
		if !own {
			slots[i] = []triedLine{notTried(thing, "stream", s.Stream.String(), needOwn)}
			continue
		}
		source, err := consumers.NewSource(consumers.Config{Name: s.Name, StreamARN: s.Stream.String(), Role: role(s.Role), Application: cfg.Application, Base: base})
		if err != nil {
			return nil, err
		}
		start(source.Run)
		g.Go(func() error {
			for _, t := range source.Try(ctx, role(s.Role), s.Consumer(cfg)) {
				slots[i] = append(slots[i], lineOf(thing, t, who, s.Role))
			}
			if stream, err := source.Stream(ctx); err == nil { // else it has been told
				slots[i] = append(slots[i], ages(cfg, s, stream)...)
			}
			return nil
		})
	}
	if cfg.Leases.Store == config.StoreDynamoDB {
		if !own {
			slots[len(cfg.Sources)] = []triedLine{notTried("table "+cfg.LeaseTable(), "table", cfg.LeaseTable(), needOwn)}
		} else {
			store := checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: dynamodb.NewFromConfig(base), Table: cfg.LeaseTable(), StateTable: cfg.StateTable(),
				Format: checkpoint.KeyFormat(cfg.Leases.KeyFormat), Create: cfg.Leases.CreateTables})
			g.Go(func() error {
				for _, t := range store.Try(ctx) {
					slots[len(cfg.Sources)] = append(slots[len(cfg.Sources)], lineOf("table "+t.Of, t, who, nil))
				}
				return nil
			})
		}
	}
	letterLines := make([][]triedLine, len(cfg.DeadLetterQueues))
	for i := range cfg.DeadLetterQueues {
		q := &cfg.DeadLetterQueues[i]
		if !own && q.Type != config.TypeFile {
			letterLines[i] = []triedLine{notTried("dead letters "+q.Name, q.Type, q.Name, needOwn)}
			continue
		}
		g.Go(func() error {
			letterLines[i] = tryLetters(ctx, cfg, q, base, start, who)
			return nil
		})
	}
	receivers := make([]receiverTrial, len(cfg.Destinations))
	usable := &base
	if !own {
		usable = nil
	}
	for i := range cfg.Destinations {
		receivers[i] = receiverTrial{config: cfg, destination: &cfg.Destinations[i], who: who}
		g.Go(func() error {
			receivers[i].run(ctx, usable, start)
			return nil
		})
	}
	var secretLines []triedLine
	g.Go(func() error {
		if own {
			secretLines = trySecrets(ctx, cfg, &services{base: base, application: cfg.Application, logger: zap.NewNop()}, who)
		}
		return nil
	})
	_ = g.Wait() // none returns an error
	lines = append(lines, slices.Concat(slots...)...)
	for i := range receivers {
		lines = append(lines, receivers[i].lines...)
	}
	lines = append(lines, secretLines...)
	for _, some := range letterLines {
		lines = append(lines, some...)
	}
	return lines, nil
}

// tryOwn tries Shardline's own credentials and the base role, and returns
// whether they can be used, the configuration with them, and who they are.
func tryOwn(ctx context.Context, cfg *config.Config, start func(func(context.Context) error)) (own bool, base aws.Config, who string, lines []triedLine, err error) {
	settings := consumers.BaseConfig{Region: cfg.Region, Profile: cfg.AWS.Profile, Application: cfg.Application}
	base, credentials, err := consumers.NewBase(ctx, settings)
	if err != nil {
		return false, base, "", nil, err
	}
	start(credentials.Run)
	asked := base.Copy()
	if asked.Region == "" {
		asked.Region = cfg.Sources[0].Stream.Region // any will do
	}
	who, err = consumers.Identity(ctx, asked)
	tried := checkpoint.Tried{Call: "sts:GetCallerIdentity", Detail: who, Err: err}
	if err != nil && !assumes(cfg) && !errors.Is(err, pipeline.ErrDenied) {
		// Nobody needs STS, which may be out of reach.
		if _, err = base.Credentials.Retrieve(ctx); err == nil {
			who = "Shardline's own credentials"
			tried.Skipped, tried.Err = tried.Err.Error(), nil
		}
	}
	lines = append(lines, lineOf("own credentials", tried, who, nil))
	if err != nil || cfg.AWS.Role == nil {
		return err == nil, base, who, lines, nil
	}
	settings.Role = role(cfg.AWS.Role)
	base, credentials, err = consumers.NewBase(ctx, settings)
	if err != nil {
		return false, base, "", nil, err
	}
	start(credentials.Run)
	tried = credentials.Try(ctx, *settings.Role)
	lines = append(lines, lineOf("base role", tried, who, cfg.AWS.Role))
	return tried.Err == nil, base, cfg.AWS.Role.ARN, lines, nil
}

// assumes says whether the configuration has a role.
func assumes(cfg *config.Config) bool {
	return cfg.AWS.Role != nil || slices.ContainsFunc(cfg.Sources, func(s config.Source) bool { return s.Role != nil }) ||
		slices.ContainsFunc(cfg.DeadLetterQueues, func(q config.DeadLetterQueue) bool { return q.Role != nil }) ||
		slices.ContainsFunc(cfg.Destinations, func(d config.Destination) bool { return d.Role != nil })
}

func notTried(thing, check, of, why string) triedLine {
	return triedLine{Thing: thing, Check: check, Of: of, Result: resultNotTried, Text: why}
}

// lineOf is the line of one check. Who is whom Shardline is without the role;
// nil: there is none.
func lineOf(thing string, t checkpoint.Tried, who string, role *config.Role) triedLine {
	l := triedLine{Thing: thing, Check: t.Call, Of: t.Of, Result: resultOK, Text: t.Detail}
	switch {
	case t.Skipped != "":
		l.Result, l.Text = resultNotTried, t.Skipped
	case t.Err != nil:
		l.Result, l.Text = resultFailed, t.Err.Error()
		if l.Missing = t.Missing(); l.Missing != "" {
			l.Result, l.Do = resultMissing, grant(l, who, role)
		}
	}
	return l
}

// grant says where the missing permission has to be given.
func grant(l triedLine, who string, role *config.Role) string {
	switch {
	case l.Missing == "sts:AssumeRole" && strings.Contains(l.Text, "no identity-based policy allows"):
		return fmt.Sprintf("allow it on %s in the policy of %s", l.Of, who)
	case l.Missing == "sts:AssumeRole" && role != nil:
		external := "require no sts:ExternalId, or set role.external_id"
		if role.ExternalID != "" {
			external = "require the sts:ExternalId that role.external_id has"
		}
		return fmt.Sprintf("let the trust policy of %s allow it to %s and %s; allow it in the policy of %[2]s too", l.Of, who, external)
	}
	if role != nil {
		who = role.ARN
	}
	if l.Missing == "kms:Decrypt" {
		return fmt.Sprintf("allow it on the stream's key in the policy of %s, and in the key's own", who)
	}
	return fmt.Sprintf("allow it on %s in the policy of %s", l.Of, who)
}

// printTried prints a table, and below it what has to be done.
func printTried(out io.Writer, lines []triedLine) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "THING\tCHECK\tRESULT\tMISSING\tDETAIL")
	for _, l := range lines {
		detail := l.Text
		if !l.good() || l.Result == resultWarning {
			detail = "see below"
		}
		missing := l.Missing
		if missing == "" {
			missing = "-"
		}
		if detail == "" {
			detail = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", l.Thing, l.Check, strings.ReplaceAll(l.Result, "_", " "), missing, detail)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, l := range lines {
		if l.good() && l.Result != resultWarning {
			continue
		}
		fmt.Fprintf(out, "\n%s: %s: %s\n", l.Thing, l.Check, l.Text)
		if l.Do != "" && l.Missing == "" {
			fmt.Fprintf(out, "  %s\n", l.Do)
		} else if l.Do != "" {
			fmt.Fprintf(out, "  missing %s: %s\n", l.Missing, l.Do)
		}
	}
	return nil
}

// printTriedLines prints a line of JSON for each check.
func printTriedLines(out io.Writer, lines []triedLine) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, l := range lines {
		if err := encoder.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
