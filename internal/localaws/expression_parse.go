package localaws

import (
	"strconv"
	"strings"
	"sync"
)

// A node of a parsed expression. Names and values are still placeholders, so
// that a parsed expression serves every request that has its text.
type node struct {
	op    string // path, value, and, or, not, = <> < <= > >=, between, in, a function's name, + -
	text  string // value: the placeholder, with its colon
	path  []step
	nodes []*node
}

// step is one part of a document path: a name (or #placeholder), or an index.
type step struct {
	name  string
	index int // for name ""
}

// update is one parsed update expression.
type update struct {
	set    []assignment
	add    []assignment
	remove [][]step
	delete []assignment
}

type assignment struct {
	path  []step
	value *node
}

// parser reads one expression.
type parser struct {
	kind   string // ConditionExpression and so on, for errors
	tokens []token
	at     int
	depth  int
}

type token struct {
	kind byte // n name, # and : placeholders, i index number, o operator or punctuation, 0 end
	text string
}

const (
	maxExpression = 4096 // bytes: the service's bound
	maxNodeDepth  = 100
)

func (p *parser) fail(what string) *apiError {
	return validation("Invalid %s: %s", p.kind, what)
}

func (p *parser) syntax() *apiError {
	t := p.peek()
	text := t.text
	if t.kind == 0 {
		text = "<EOF>"
	}
	near := ""
	for i := max(0, p.at-1); i < min(len(p.tokens), p.at+2); i++ {
		near += p.tokens[i].text + " "
	}
	return p.fail(`Syntax error; token: "` + text + `", near: "` + strings.TrimSpace(near) + `"`)
}

// scan splits an expression into tokens.
func (p *parser) scan(text string) *apiError {
	if strings.TrimSpace(text) == "" {
		return p.fail("The expression can not be empty;")
	}
	if len(text) > maxExpression {
		return p.fail("Expression size has exceeded the maximum allowed size; expression size: " + strconv.Itoa(len(text)))
	}
	word := func(from int) int {
		for from < len(text) && (text[from] == '_' || text[from] >= '0' && text[from] <= '9' || text[from]|32 >= 'a' && text[from]|32 <= 'z') {
			from++
		}
		return from
	}
	for i := 0; i < len(text); {
		c := text[i]
		end := i + 1
		kind := byte('o')
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case c == '#' || c == ':':
			kind, end = c, word(i+1)
			if end == i+1 {
				return p.fail(`Syntax error; token: "` + text[i:end] + `"`)
			}
		case c >= '0' && c <= '9':
			kind = 'i'
			for end < len(text) && text[end] >= '0' && text[end] <= '9' {
				end++
			}
		case c == '_' || c|32 >= 'a' && c|32 <= 'z':
			kind, end = 'n', word(i)
		case c == '<' && end < len(text) && (text[end] == '>' || text[end] == '='), c == '>' && end < len(text) && text[end] == '=':
			end++
		case strings.IndexByte("=<>(),.[]+-", c) < 0:
			return p.fail(`Syntax error; token: "` + text[i:end] + `"`)
		}
		p.tokens = append(p.tokens, token{kind, text[i:end]})
		i = end
	}
	return nil
}

func (p *parser) peek() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return token{}
}

// take consumes an operator or punctuation if it is next.
func (p *parser) take(text string) bool {
	if t := p.peek(); t.kind == 'o' && t.text == text {
		p.at++
		return true
	}
	return false
}

// keyword consumes a keyword if it is next.
func (p *parser) keyword(word string) bool {
	if t := p.peek(); t.kind == 'n' && strings.EqualFold(t.text, word) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(text string) *apiError {
	if !p.take(text) {
		return p.syntax()
	}
	return nil
}

// parsePath reads a document path: name(.name | [index])*.
func (p *parser) parsePath() ([]step, *apiError) {
	var path []step
	for {
		t := p.peek()
		if t.kind != 'n' && t.kind != '#' {
			return nil, p.syntax()
		}
		if t.kind == 'n' && reservedWords[strings.ToUpper(t.text)] {
			return nil, p.fail("Attribute name is a reserved keyword; reserved keyword: " + t.text)
		}
		p.at++
		path = append(path, step{name: t.text})
		for p.take("[") {
			t := p.peek()
			index, err := strconv.Atoi(t.text)
			if t.kind != 'i' || err != nil {
				return nil, p.syntax()
			}
			p.at++
			path = append(path, step{index: index})
			if e := p.expect("]"); e != nil {
				return nil, e
			}
		}
		if !p.take(".") {
			if len(path) > maxValueDepth {
				return nil, p.fail("The document path has too many nesting elements")
			}
			return path, nil
		}
	}
}

// functions and their number of arguments.
var conditionFunctions = map[string]int{
	"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2, "size": 1,
}

var updateFunctions = map[string]int{"if_not_exists": 2, "list_append": 2}

// operand reads a path, a :value or a function call.
func (p *parser) operand(functions map[string]int) (*node, *apiError) {
	t := p.peek()
	if t.kind == ':' {
		p.at++
		return &node{op: "value", text: t.text}, nil
	}
	if t.kind == 'n' && p.at+1 < len(p.tokens) && p.tokens[p.at+1].text == "(" {
		count, ok := functions[t.text]
		if !ok {
			return nil, p.fail("Invalid function name; function: " + t.text)
		}
		p.at += 2
		n := &node{op: t.text}
		for {
			p.depth++
			if p.depth > maxNodeDepth {
				return nil, p.fail("The expression is nested too deeply")
			}
			argument, e := p.operand(functions)
			p.depth--
			if e != nil {
				return nil, e
			}
			n.nodes = append(n.nodes, argument)
			if !p.take(",") {
				break
			}
		}
		if e := p.expect(")"); e != nil {
			return nil, e
		}
		if len(n.nodes) != count {
			return nil, p.fail("Incorrect number of operands for operator or function; operator or function: " + t.text + ", number of operands: " + strconv.Itoa(len(n.nodes)))
		}
		needsPath := t.text == "attribute_exists" || t.text == "attribute_not_exists" || t.text == "if_not_exists"
		if needsPath && n.nodes[0].op != "path" {
			return nil, p.fail("Operator or function requires a document path; operator or function: " + t.text)
		}
		return n, nil
	}
	path, e := p.parsePath()
	return &node{op: "path", path: path}, e
}

// or, and, not, comparison: the grammar of conditions, loosest first.
func (p *parser) or() (*node, *apiError)  { return p.chain("or", p.and) }
func (p *parser) and() (*node, *apiError) { return p.chain("and", p.not) }

func (p *parser) chain(op string, part func() (*node, *apiError)) (*node, *apiError) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxNodeDepth {
		return nil, p.fail("The expression is nested too deeply")
	}
	left, e := part()
	for e == nil && p.keyword(op) {
		var right *node
		if right, e = part(); e == nil {
			left = &node{op: op, nodes: []*node{left, right}}
		}
	}
	return left, e
}

func (p *parser) not() (*node, *apiError) {
	if p.keyword("not") {
		p.depth++
		defer func() { p.depth-- }()
		if p.depth > maxNodeDepth {
			return nil, p.fail("The expression is nested too deeply")
		}
		n, e := p.not()
		return &node{op: "not", nodes: []*node{n}}, e
	}
	if p.take("(") {
		n, e := p.or()
		if e == nil {
			e = p.expect(")")
		}
		return n, e
	}
	return p.comparison()
}

func (p *parser) comparison() (*node, *apiError) {
	left, e := p.operand(conditionFunctions)
	if e != nil {
		return nil, e
	}
	switch t := p.peek(); {
	case t.kind == 'o' && strings.Contains(" = <> < <= > >= ", " "+t.text+" "):
		p.at++
		right, e := p.operand(conditionFunctions)
		return &node{op: t.text, nodes: []*node{left, right}}, e
	case p.keyword("between"):
		low, e := p.operand(conditionFunctions)
		if e != nil {
			return nil, e
		}
		if !p.keyword("and") {
			return nil, p.syntax()
		}
		high, e := p.operand(conditionFunctions)
		return &node{op: "between", nodes: []*node{left, low, high}}, e
	case p.keyword("in"):
		n := &node{op: "in", nodes: []*node{left}}
		if e := p.expect("("); e != nil {
			return nil, e
		}
		for {
			choice, e := p.operand(conditionFunctions)
			if e != nil {
				return nil, e
			}
			n.nodes = append(n.nodes, choice)
			if !p.take(",") {
				return n, p.expect(")")
			}
		}
	case left.op == "path" || left.op == "value" || left.op == "size":
		return nil, p.syntax()
	}
	return left, nil
}

// parseCondition reads a condition, filter or key condition.
func parseCondition(kind, text string) (*node, *apiError) {
	p := &parser{kind: kind}
	if e := p.scan(text); e != nil {
		return nil, e
	}
	n, e := p.or()
	if e == nil && p.peek().kind != 0 {
		e = p.syntax()
	}
	return n, e
}

// parseProjection reads a list of paths.
func parseProjection(text string) ([][]step, *apiError) {
	p := &parser{kind: "ProjectionExpression"}
	if e := p.scan(text); e != nil {
		return nil, e
	}
	var paths [][]step
	for {
		path, e := p.parsePath()
		if e != nil {
			return nil, e
		}
		paths = append(paths, path)
		if !p.take(",") {
			if p.peek().kind != 0 {
				return nil, p.syntax()
			}
			return paths, nil
		}
	}
}

// parseUpdate reads an update expression: each clause at most once.
func parseUpdate(text string) (*update, *apiError) {
	p := &parser{kind: "UpdateExpression"}
	if e := p.scan(text); e != nil {
		return nil, e
	}
	u := &update{}
	seen := map[string]bool{}
	for p.peek().kind != 0 {
		clause := strings.ToUpper(p.peek().text)
		if seen[clause] {
			return nil, p.fail(`The "` + clause + `" section can only be used once in an update expression;`)
		}
		seen[clause] = true
		p.at++
		for {
			if e := p.action(u, clause); e != nil {
				return nil, e
			}
			if !p.take(",") {
				break
			}
		}
	}
	return u, nil
}

func (p *parser) action(u *update, clause string) *apiError {
	switch clause {
	case "SET", "REMOVE", "ADD", "DELETE":
	default:
		p.at--
		return p.syntax()
	}
	path, e := p.parsePath()
	if e != nil {
		return e
	}
	a := assignment{path: path}
	switch clause {
	case "REMOVE":
		u.remove = append(u.remove, path)
		return nil
	case "SET":
		if e := p.expect("="); e != nil {
			return e
		}
		if a.value, e = p.sum(); e == nil {
			u.set = append(u.set, a)
		}
		return e
	}
	t := p.peek()
	if t.kind != ':' {
		return p.syntax()
	}
	p.at++
	a.value = &node{op: "value", text: t.text}
	if clause == "ADD" {
		u.add = append(u.add, a)
	} else {
		u.delete = append(u.delete, a)
	}
	return nil
}

// sum reads the right side of SET: operand, operand + operand, operand - operand.
func (p *parser) sum() (*node, *apiError) {
	left, e := p.operand(updateFunctions)
	if e != nil {
		return nil, e
	}
	for _, op := range []string{"+", "-"} {
		if p.take(op) {
			right, e := p.operand(updateFunctions)
			return &node{op: op, nodes: []*node{left, right}}, e
		}
	}
	return left, nil
}

// expressionCache keeps parsed expressions by text: a client uses few.
type expressionCache struct {
	mu         sync.Mutex // guards the maps
	conditions map[string]*node
	updates    map[string]*update
}

// maxCached bounds the cache: beyond it, it starts anew.
const maxCached = 1000

func (x *expressionCache) condition(kind, text string) (*node, *apiError) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n := x.conditions[text]; n != nil {
		return n, nil
	}
	n, e := parseCondition(kind, text)
	if e != nil {
		return nil, e
	}
	if x.conditions == nil || len(x.conditions) >= maxCached {
		x.conditions = map[string]*node{}
	}
	x.conditions[text] = n
	return n, nil
}

func (x *expressionCache) update(text string) (*update, *apiError) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if u := x.updates[text]; u != nil {
		return u, nil
	}
	u, e := parseUpdate(text)
	if e != nil {
		return nil, e
	}
	if x.updates == nil || len(x.updates) >= maxCached {
		x.updates = map[string]*update{}
	}
	x.updates[text] = u
	return u, nil
}
