package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of one file: far above any real configuration, and small enough
// that hostile text costs neither time nor stack.
const (
	maxFile  = 1 << 20
	maxDepth = 32
)

// node is a YAML value with its place. Only these four kinds reach the
// decoder: anchors, aliases, tags and several documents are refused.
type node struct {
	kind         nodeKind
	line, column int
	text         string // scalar: the value, after expansion
	source       string // scalar: the value before expansion
	quoted       bool   // scalar: in quotes or a block, so never a null
	entries      []entry
	items        []*node
}

type entry struct {
	key          string
	line, column int
	value        *node
}

type nodeKind int

const (
	nullNode nodeKind = iota
	scalarNode
	sequenceNode
	mappingNode
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "a value", "a list", "a mapping"}[k]
}

// found is how a message calls what stands there: never what came from the
// environment.
func (n *node) found() string {
	if n.kind != scalarNode {
		return n.kind.String()
	}
	return quote(n.source)
}

// expanded says whether something of the value came from the environment.
func (n *node) expanded() bool { return n.text != n.source }

// quote shows a text in a message, cut to a readable length.
func quote(text string) string {
	const most = 80
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most]) + "…"
	}
	return fmt.Sprintf("%q", text)
}

func (n *node) entry(key string) *entry {
	for i := range n.entries {
		if n.entries[i].key == key {
			return &n.entries[i]
		}
	}
	return nil
}

// fault is a problem of the text itself.
type fault struct {
	line, column int
	path         string
	message      string
}

// grow builds the tree of one file, whose root stands at path. With faults
// that stop it the tree is nil.
func grow(data []byte, path string) (root *node, faults []fault) {
	defer func() {
		for i := range faults {
			if faults[i].path == "" {
				faults[i].path = path
			}
		}
	}()
	if len(data) > maxFile {
		return nil, []fault{{message: fmt.Sprintf("the file is longer than %d bytes", maxFile)}}
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	// Line ends of all kinds count once, so that lines are what an editor shows.
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	if f := characters(text); f != nil {
		return nil, []fault{*f}
	}
	defer func() {
		// The parser is another's: a panic on text that nobody has tried is a
		// problem of that text, not the end of a worker that reloads it.
		if recover() != nil {
			root, faults = nil, []fault{{message: "the text is not valid YAML, in a way that the parser cannot place"}}
		}
	}()
	tokens := lexer.Tokenize(text)
	if f := depth(tokens); f != nil {
		return nil, []fault{*f}
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []fault{syntax(err)}
	}
	g := &grower{}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if doc.Body.Type() == ast.DirectiveType {
			g.fault(doc.Body, "", "YAML directives are not allowed")
			continue
		}
		if body != nil {
			g.fault(doc.Body, "", "a second document: a configuration is one document")
			break
		}
		body = doc.Body
	}
	if body == nil {
		if g.faults == nil {
			g.faults = []fault{{line: 1, column: 1, message: "the file is empty"}}
		}
		return nil, g.faults
	}
	root = g.node(body, path)
	return root, g.faults
}

// characters finds what no YAML text may contain.
func characters(text string) *fault {
	line, column := 1, 0
	for i, r := range text {
		column++
		switch {
		case r == '\n':
			line, column = line+1, 0
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				return &fault{line: line, column: column, message: "a byte that is not UTF-8"}
			}
		case r < 0x20 && r != '\t' || r == 0x7f:
			return &fault{line: line, column: column, message: fmt.Sprintf("a control character (%#02x)", r)}
		}
	}
	return nil
}

// depth refuses nesting beyond every real configuration before the parser,
// which descends once per level, sees it.
func depth(tokens token.Tokens) *fault {
	const message = "nested too deeply"
	flow, line, onLine := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, onLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			onLine++
			if t.Position.Column > 16*maxDepth {
				return &fault{line: t.Position.Line, column: t.Position.Column, message: message}
			}
		case token.MappingValueType:
			if flow == 0 && t.Prev != nil && t.Prev.Position.Column > 16*maxDepth {
				return &fault{line: t.Position.Line, column: t.Position.Column, message: message}
			}
		}
		if flow > maxDepth || onLine > maxDepth {
			return &fault{line: t.Position.Line, column: t.Position.Column, message: message}
		}
	}
	return nil
}

// syntax is the parser's error in one line, without its excerpt of the file,
// which may hold a secret.
func syntax(err error) fault {
	var e yaml.Error
	if !errors.As(err, &e) {
		return fault{message: "the text is not valid YAML"}
	}
	said := strings.ReplaceAll(e.GetMessage(), "\n", " ")
	if strings.Contains(said, "\t") {
		said = "a tab; lines are indented with spaces"
	}
	f := fault{message: "not valid YAML: " + said}
	if t := e.GetToken(); t != nil && t.Position != nil {
		f.line, f.column = t.Position.Line, t.Position.Column
		if t.Prev != nil && strings.HasSuffix(strings.TrimRight(t.Prev.Value, " "), "$") && t.Type == token.MappingStartType {
			f.message += " (inside braces, ${NAME} must stand in quotes)"
		}
	}
	return f
}

type grower struct {
	faults []fault
}

func (g *grower) fault(n ast.Node, path, message string) {
	line, column := place(n)
	g.faults = append(g.faults, fault{line, column, path, message})
}

// place is where a value starts: a block mapping at its first key.
func place(n ast.Node) (line, column int) {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return place(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return place(n.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, t.Position.Column
	}
	return 0, 0
}

func (g *grower) node(n ast.Node, path string) *node {
	result := &node{}
	if n == nil {
		return result
	}
	result.line, result.column = place(n)
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		result.kind, result.text = scalarNode, n.Value
		result.quoted = n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		result.kind, result.text, result.quoted = scalarNode, n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		result.kind, result.text = scalarNode, n.GetToken().Value
	case *ast.SequenceNode:
		result.kind = sequenceNode
		for i, item := range n.Values {
			result.items = append(result.items, g.node(item, fmt.Sprintf("%s[%d]", path, i)))
		}
	case *ast.MappingNode:
		result.kind = mappingNode
		for _, value := range n.Values {
			g.entry(result, value, path)
		}
	case *ast.MappingValueNode:
		result.kind = mappingNode
		g.entry(result, n, path)
	case *ast.AnchorNode, *ast.AliasNode:
		g.fault(n, path, "anchors and aliases are not allowed (what destinations share stands in delivery)")
	case *ast.TagNode:
		g.fault(n, path, "tags are not allowed")
	default:
		g.fault(n, path, "not allowed in a configuration: "+strings.ToLower(n.Type().String()))
	}
	result.source = result.text
	return result
}

func (g *grower) entry(m *node, value *ast.MappingValueNode, path string) {
	switch value.Key.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
	case *ast.MergeKeyNode:
		g.fault(value.Key, path, "merge keys are not allowed (what destinations share stands in delivery)")
		return
	default:
		g.fault(value.Key, path, "a key is plain text")
		return
	}
	key := value.Key.GetToken().Value
	e := entry{key: key}
	e.line, e.column = place(value.Key)
	if first := m.entry(key); first != nil {
		g.fault(value.Key, join(path, key), fmt.Sprintf("a second time in one mapping; first in line %d", first.line))
		return
	}
	e.value = g.node(value.Value, join(path, key))
	if e.value.line == 0 {
		e.value.line, e.value.column = e.line, e.column
	}
	m.entries = append(m.entries, e)
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// join is the path of a key; a key that is not plain stands in quotes, so that
// a path is one line and means one place.
func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
