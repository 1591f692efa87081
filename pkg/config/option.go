// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DefaultGroup is the section of options that name no group.
const DefaultGroup = "DEFAULT"

// Kind is the type of an option's value.
type Kind int

// The kinds follow the classes of oslo_config/types.py.
const (
	String      Kind = iota // any text
	Int                     // decimal integer, 64 bits
	Float                   // decimal number
	Bool                    // true, 1, on, yes, false, 0, off, no in any case
	List                    // texts separated by commas
	MultiString             // one text an occurrence: lines and files add up
	Dict                    // name:value pairs separated by commas
	HostAddress             // IPv4 or IPv6 address or host name
	Port                    // integer from 0 to 65535
)

var kindNames = [...]string{
	"string", "integer", "floating point", "boolean", "list",
	"multi valued", "dict", "host address", "port",
}

// String names the kind as the sample file and errors show it.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return kindNames[k]
}

// Name addresses an option: its group and its name in that group. An empty
// Group is DefaultGroup, except in Option.Deprecated, where it is the group of
// the option itself.
type Name struct{ Group, Name string }

// String is "group.name", with the group left out when it is DEFAULT.
func (n Name) String() string {
	if n.Group == "" || n.Group == DefaultGroup {
		return n.Name
	}
	return n.Group + "." + n.Name
}

// canonical returns the form under which options are found: group names ignore case
// except for DEFAULT (oslo.config: cfg.py _normalize_group_name), and a dash in an
// option's name is an underscore (cfg.py Opt.dest).
func (n Name) canonical() Name {
	return Name{Group: canonicalGroup(n.Group), Name: strings.ReplaceAll(n.Name, "-", "_")}
}

func canonicalGroup(group string) string {
	if group == "" || group == DefaultGroup {
		return DefaultGroup
	}
	return strings.ToLower(group)
}

// Option declares one option. A package keeps its options in one table, which is the
// source of the loader, the sample file and the reference page.
type Option struct {
	Group string // section of the file; empty is DEFAULT
	Name  string // key in the file, words joined by underscores
	Kind  Kind

	// Default is the value when no source sets one: nil for none, a text that is parsed
	// like a value in a file, or a Go value of the kind (int, int64, float64, bool,
	// []string, map[string]string). References in texts are expanded.
	Default any
	Help    string
	Secret  bool // the value is never shown in dumps and errors

	Deprecated []Name   // former names, newest first, each read with a warning
	Min, Max   *int64   // inclusive bounds of Int, Float and Port; see Bound
	Choices    []string // the only values allowed; empty allows all

	CLI   bool   // also a flag of the command line: --name, or --group-name
	Short string // one-letter flag, without the dash

	// Sample is the default shown in documents when the real one depends on the
	// machine, such as the host's name.
	Sample string
}

// Bound returns a pointer to n, for Option.Min and Option.Max.
func Bound(n int64) *int64 { return &n }

func (o *Option) name() Name { return Name{o.Group, o.Name}.canonical() }

// names lists every name that a source may use, the current one first.
func (o *Option) names() []Name {
	current := o.name()
	names := []Name{current}
	for _, old := range o.Deprecated {
		if old.Group == "" {
			old.Group = current.Group
		}
		if old.Name == "" {
			old.Name = current.Name
		}
		names = append(names, old.canonical())
	}
	return names
}

// table finds options by canonical name and keeps their order.
type table struct {
	options map[Name]*Option
	order   []Name
	groups  map[string]bool // as declared: references name groups exactly
}

var (
	validName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	validGroup = regexp.MustCompile(`^[^\s\[\]][^\r\n\[\]]*$`)
)

// newTable checks the declarations. Two packages that share an option may both declare
// it if the declarations agree.
func newTable(options []Option) (*table, error) {
	t := &table{options: make(map[Name]*Option), groups: make(map[string]bool)}
	var wrong []error
	for i := range options {
		option := &options[i]
		name := option.name()
		if err := option.check(); err != nil {
			wrong = append(wrong, fmt.Errorf("option table: %s: %w", name, err))
			continue
		}
		if known, ok := t.options[name]; ok {
			if !reflect.DeepEqual(known, option) {
				wrong = append(wrong, fmt.Errorf("option table: %s: declared twice in different ways", name))
			}
			continue
		}
		t.options[name] = option
		t.order = append(t.order, name)
		if name.Group != DefaultGroup {
			t.groups[option.Group] = true
		}
	}
	return t, errors.Join(wrong...)
}

func (o *Option) check() error {
	switch {
	case !validName.MatchString(o.Name):
		return errors.New("the name is not a word of letters, digits, - and _")
	case o.Group != "" && !validGroup.MatchString(o.Group):
		return errors.New("the group cannot be written as a section")
	case o.Kind < 0 || int(o.Kind) >= len(kindNames):
		return errors.New("the kind is unknown")
	case len(o.Short) > 1:
		return errors.New("the short flag has more than one letter")
	case o.Min != nil && o.Max != nil && *o.Min > *o.Max:
		return errors.New("the bounds leave no value")
	}
	return nil
}

// typed converts a default that is a Go number or boolean.
func (o *Option) typed() (any, error) {
	switch value := o.Default.(type) {
	case int:
		return o.typedInt(int64(value))
	case int64:
		return o.typedInt(value)
	case float64:
		if err := o.holds(Float); err != nil {
			return nil, err
		}
		return value, o.checkFloat(value)
	case bool:
		return value, o.holds(Bool)
	}
	return nil, fmt.Errorf("a default of type %T is not supported", o.Default)
}

func (o *Option) typedInt(value int64) (any, error) {
	if o.Kind == Float {
		return float64(value), o.checkFloat(float64(value))
	}
	if err := o.holds(Int, Port); err != nil {
		return nil, err
	}
	return value, o.checkInt(value)
}

// holds checks that the Go type of the default fits the kind.
func (o *Option) holds(kinds ...Kind) error {
	if slices.Contains(kinds, o.Kind) {
		return nil
	}
	return fmt.Errorf("a default of type %T does not fit the kind %v", o.Default, o.Kind)
}

// pythonText is Python's str(value), which a reference expands to.
func pythonText(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case bool:
		if value {
			return "True"
		}
		return "False"
	case float64:
		return pythonFloat(value)
	case []string:
		texts := make([]string, len(value))
		for i, text := range value {
			texts[i] = pythonQuote(text)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case map[string]string:
		var texts []string
		for key, text := range value {
			texts = append(texts, pythonQuote(key)+": "+pythonQuote(text))
		}
		slices.Sort(texts)
		return "{" + strings.Join(texts, ", ") + "}"
	}
	return fmt.Sprint(value)
}

// pythonFloat is Python's repr: the shortest digits, with an exponent below 1e-4 and
// from 1e16 on.
func pythonFloat(value float64) string {
	switch {
	case math.IsInf(value, 1):
		return "inf"
	case math.IsInf(value, -1):
		return "-inf"
	case math.IsNaN(value):
		return "nan"
	}
	if size := math.Abs(value); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.FormatFloat(value, 'e', -1, 64)
	}
	text := strconv.FormatFloat(value, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// pythonQuote is Python's repr of a text without control characters.
func pythonQuote(text string) string {
	text = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\t", `\t`).Replace(text)
	if !strings.Contains(text, "'") {
		return "'" + text + "'"
	}
	if !strings.Contains(text, `"`) {
		return `"` + text + `"`
	}
	return "'" + strings.ReplaceAll(text, "'", `\'`) + "'"
}

// Patterns of the texts that Python's int and float accept, which the types of
// oslo_config/types.py call.
var (
	integerText = regexp.MustCompile(`^[+-]?[0-9]+(_[0-9]+)*$`)
	floatText   = regexp.MustCompile(`(?i)^[+-]?(([0-9]+(_[0-9]+)*)(\.([0-9]+(_[0-9]+)*)?)?|\.[0-9]+(_[0-9]+)*)(e[+-]?[0-9]+(_[0-9]+)*)?$|^[+-]?(inf|infinity|nan)$`)
)

// parse converts an expanded text. An empty number is nil. Errors name the allowed
// values and never repeat the given one, which may be secret.
func (o *Option) parse(text string) (any, error) {
	switch o.Kind {
	case Int, Port:
		return o.parseInt(trim(text))
	case Float:
		return o.parseFloat(trim(text))
	case Bool:
		return parseBool(text)
	case List:
		return o.parseList(text)
	case Dict:
		return parseDict(text)
	case HostAddress:
		return parseHost(text)
	}
	return text, o.choose(text)
}

// bounds returns the inclusive limits of the option, which a port always has.
func (o *Option) bounds() (low, high *int64) {
	low, high = o.Min, o.Max
	if o.Kind == Port && low == nil {
		low = Bound(0)
	}
	if o.Kind == Port && high == nil {
		high = Bound(math.MaxUint16)
	}
	return low, high
}

func (o *Option) parseInt(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	if !integerText.MatchString(text) {
		return nil, o.want("an integer")
	}
	number, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	if err != nil {
		return nil, o.want("a 64-bit integer")
	}
	return number, o.checkInt(number)
}

func (o *Option) checkInt(number int64) error {
	if len(o.Choices) > 0 { // choices stand in for bounds, types.py Number
		return o.choose(strconv.FormatInt(number, 10))
	}
	low, high := o.bounds()
	if (low != nil && number < *low) || (high != nil && number > *high) {
		return o.want("an integer")
	}
	return nil
}

func (o *Option) parseFloat(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	if !floatText.MatchString(text) {
		return nil, o.want("a number")
	}
	number, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // Python too reads 1e999 as infinity
		return nil, o.want("a number")
	}
	return number, o.checkFloat(number)
}

func (o *Option) checkFloat(number float64) error {
	if (o.Min != nil && number < float64(*o.Min)) || (o.Max != nil && number > float64(*o.Max)) {
		return o.want("a number")
	}
	return nil
}

// want returns an error that states what the option takes: a noun and the bounds.
func (o *Option) want(noun string) error {
	low, high := o.bounds()
	switch {
	case low != nil && high != nil:
		return fmt.Errorf("want %s from %d to %d", noun, *low, *high)
	case low != nil:
		return fmt.Errorf("want %s of at least %d", noun, *low)
	case high != nil:
		return fmt.Errorf("want %s of at most %d", noun, *high)
	}
	return errors.New("want " + noun)
}

func (o *Option) choose(text string) error {
	if len(o.Choices) == 0 || slices.Contains(o.Choices, text) {
		return nil
	}
	return errors.New("want one of " + strings.Join(o.Choices, ", "))
}

func parseBool(text string) (any, error) {
	switch strings.ToLower(text) {
	case "true", "1", "on", "yes":
		return true, nil
	case "false", "0", "off", "no":
		return false, nil
	}
	return nil, errors.New("want a boolean: true, 1, on, yes, false, 0, off or no")
}

func (o *Option) parseList(text string) (any, error) {
	items := []string{}
	text = strings.TrimRight(trim(text), ",")
	if text == "" {
		return items, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		item = trim(item)
		if err := o.choose(item); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// parseDict parses name:value pairs. A part without a colon continues the preceding
// pair after the comma (types.py Dict).
func parseDict(text string) (any, error) {
	pairs := map[string]string{}
	if text = trim(text); text == "" {
		return pairs, nil
	}
	begun := ""
	parts := strings.Split(text, ",")
	for i, part := range parts {
		key, value, ok := strings.Cut(begun+part, ":")
		if !ok && i == len(parts)-1 {
			return nil, errors.New("want name:value pairs separated by commas")
		}
		if !ok {
			begun += part + ","
			continue
		}
		begun, key = "", trim(key)
		if key == "" {
			return nil, errors.New("want a name before each colon")
		}
		if _, twice := pairs[key]; twice {
			return nil, errors.New("want each name once")
		}
		pairs[key] = trim(value)
	}
	return pairs, nil
}

const maxHostName = 253 // RFC 1035, as oslo_config/types.py Hostname

var (
	hostLabel  = regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`)
	notNumeric = regexp.MustCompile(`[A-Za-z-]`)
)

// parseHost accepts an address without zone, or a host name whose last label is not
// only digits, so that a mistyped address is refused. A final dot of a name is dropped
// (types.py HostAddress).
func parseHost(text string) (any, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		return text, nil
	}
	wrong := errors.New("want an IP address or a host name")
	if text == "" || utf8.RuneCountInString(text) > maxHostName {
		return nil, wrong
	}
	name := strings.TrimSuffix(text, ".")
	labels := strings.Split(name, ".")
	if !notNumeric.MatchString(labels[len(labels)-1]) {
		return nil, wrong
	}
	for _, label := range labels {
		if !hostLabel.MatchString(label) || label[0] == '-' || label[len(label)-1] == '-' {
			return nil, wrong
		}
	}
	return name, nil
}

func (o *Option) usage() string {
	flags := flagDisplay(o, "")
	if o.Short != "" {
		flags += ", -" + o.Short
	}
	if o.Kind == Bool {
		return flags + ", " + flagDisplay(o, "no")
	}
	return flags + " " + strings.ToUpper(o.name().Name)
}

func (o *Option) last(found []occurrence) []occurrence {
	if o.Kind == MultiString {
		return found
	}
	return found[len(found)-1:]
}
