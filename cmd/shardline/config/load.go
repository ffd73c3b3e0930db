package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Variable is the environment variable that may hold the configuration's
// text: a container task has no file.
const Variable = "SHARDLINE_CONFIG"

const (
	stdinName = "<stdin>"
	// maxFiles bounds destinations_files: far above any number of partners.
	maxFiles = 10000
)

// Load reads the configuration from the file at path, from stdin when path is
// "-", or, when path is empty, from the text in the environment variable
// SHARDLINE_CONFIG. env looks up an environment variable; empty is unset.
// The error is Problems: everything that is wrong.
func Load(path string, env func(string) string, stdin io.Reader) (*Config, error) {
	name, folder, data, problem := text(path, env, stdin)
	if problem != nil {
		return nil, Problems{*problem}
	}
	l := &loading{
		env: env, folder: folder,
		places:   map[string]site{},
		reported: map[string]bool{},
		skipped:  map[string]bool{},
	}
	c := Default()
	d := &decoder{loading: l, file: name}
	if root := d.read(data); root != nil {
		d.value(root, "", c)
		d.destinations(c)
		if root.kind == mappingNode {
			l.resolved(c)
			l.validate(c)
		}
	}
	if len(l.problems) > 0 {
		return nil, l.problems.sorted(name)
	}
	return c, nil
}

// text finds the configuration's text, its name in messages, and the folder
// that relative paths are relative to.
func text(path string, env func(string) string, stdin io.Reader) (name, folder string, data []byte, problem *Problem) {
	switch path {
	case "":
		text := env(Variable)
		if text == "" {
			return "", "", nil, &Problem{File: "shardline", Message: "no configuration: give --config FILE, --config - for standard input, or the text itself in " + Variable}
		}
		return Variable, "", []byte(text), nil
	case "-":
		data, err := readAll(stdin)
		if err != nil {
			return "", "", nil, &Problem{File: stdinName, Message: "read: " + err.Error()}
		}
		return stdinName, "", data, nil
	}
	data, err := readFile(path)
	if err != nil {
		return "", "", nil, &Problem{File: path, Message: "the file cannot be read: " + reason(err)}
	}
	return path, filepath.Dir(path), data, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

// readAll reads one byte more than is allowed at most: grow says so.
func readAll(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	_, err := io.Copy(&b, io.LimitReader(r, maxFile+1))
	return b.Bytes(), err
}

// read builds and expands the tree of one file, nil when it cannot be used.
func (d *decoder) read(data []byte) *node {
	root, faults := grow(data, d.prefix)
	for _, f := range faults {
		d.addAt(f.line, f.column, f.path, f.message)
		delete(d.reported, d.prefix) // the file may have more than one as a whole
	}
	if root == nil {
		return nil
	}
	if root.kind == nullNode {
		if len(faults) == 0 {
			d.addf(root, d.prefix, "nothing stands here; allowed: a mapping")
		}
		return nil
	}
	expand(root, d.env, d.prefix, func(n *node, path, message string) {
		d.addf(n, path, "%s", message)
	})
	return root
}

// destinations adds what destinations_files names.
func (d *decoder) destinations(c *Config) {
	seen := map[string]bool{}
	for i, pattern := range c.DestinationsFiles {
		at := fmt.Sprintf("destinations_files[%d]", i)
		n := d.places[at].n
		if n == nil || d.reported[at] {
			continue
		}
		files, err := filepath.Glob(d.resolve(pattern))
		switch {
		case err != nil:
			d.addf(n, at, "%s is not a pattern; allowed: file names with *, ? and [a-z]", n.found())
		case len(files) == 0:
			d.addf(n, at, "%s matches no file (relative to the configuration file's folder)", n.found())
		case len(seen)+len(files) > maxFiles:
			d.addf(n, at, "%s matches too many files: %d are allowed", n.found(), maxFiles)
			return
		}
		slices.Sort(files)
		for _, file := range files {
			if seen[file] {
				continue
			}
			seen[file] = true
			prefix := fmt.Sprintf("destinations[%d]", len(c.Destinations))
			destination := defaultDestination(d.common)
			of := &decoder{loading: d.loading, file: file, prefix: prefix}
			data, err := readFile(file)
			if err != nil {
				of.addAt(0, 0, prefix, "the file cannot be read: "+reason(err))
				d.skipped[prefix] = true
			} else if root := of.read(data); root != nil {
				of.value(root, prefix, &destination)
			} else {
				d.skipped[prefix] = true
			}
			c.Destinations = append(c.Destinations, destination)
		}
	}
}

// resolved fills in what follows from other fields.
func (l *loading) resolved(c *Config) {
	const longest = 64 // of a session's name
	session := c.Application
	if len(session) > longest {
		session = session[:longest]
	}
	name := func(r *Role) {
		if r != nil && r.SessionName == "" {
			r.SessionName = session
		}
	}
	name(c.AWS.Role)
	for i := range c.Sources {
		name(c.Sources[i].Role)
	}
	c.Leases.Table = c.LeaseTable()
	d := &decoder{loading: l}
	for i := range c.Destinations {
		to, path := &c.Destinations[i], fmt.Sprintf("destinations[%d]", i)
		name(to.Role)
		if !l.names("delivery.concurrency") && !l.names(path+".concurrency") {
			to.Concurrency = concurrency(to.Type)
		}
		if !l.names(path + ".linger") {
			to.Linger = linger(to.Type)
		}
		for _, path := range []*string{&to.Path, &to.TLS.Roots, &to.TLS.Certificate, &to.TLS.Key} {
			if *path != "" {
				*path = d.resolve(*path)
			}
		}
	}
	for i := range c.DeadLetterQueues {
		q := &c.DeadLetterQueues[i]
		name(q.Role)
		if q.Path != "" {
			q.Path = d.resolve(q.Path)
		}
	}
}
