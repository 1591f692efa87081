// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// FromProcess calls ParseArgs with the environment and the home directory of the
// process. Project and prog name the default files.
func FromProcess(project, prog string, args []string, options []Option) (Source, error) {
	src, err := ParseArgs(args, options)
	if err != nil {
		return Source{}, err
	}
	src.Project, src.Prog, src.Env = project, prog, withCredentials(os.LookupEnv)
	src.Home, _ = os.UserHomeDir() // a daemon may have none: the search leaves it out
	return src, nil
}

// ParseArgs reads a command line without the program's name: --config-file and
// --config-dir, both repeatable, and the flags of options marked CLI. A flag
// takes its value as --name=value or --name value; a boolean takes none and
// has the inverse --noname. Former names are flags too, and a dash stands for
// an underscore. The error is ErrHelp, ErrVersion or names the argument.
func ParseArgs(args []string, options []Option) (Source, error) {
	p := argParser{flags: flagTable(options)}
	p.src.Overrides = make(map[Name][]string)
	for p.rest = args; len(p.rest) > 0; {
		if err := p.next(); err != nil {
			return Source{}, err
		}
	}
	return p.src, nil
}

// argument is one spelling of an option on the command line.
type argument struct {
	option *Option
	name   Name   // the override it sets: a former name keeps its warning
	fixed  string // value of a flag that takes none
}

type argParser struct {
	flags map[string]argument
	src   Source
	rest  []string
}

func flagTable(options []Option) map[string]argument {
	flags := make(map[string]argument)
	for i := range options {
		option := &options[i]
		if !option.CLI {
			continue
		}
		for _, name := range option.names() {
			f := argument{option: option, name: name}
			if option.Kind == Bool {
				flags[flagName("no", name)] = argument{option, name, "false"}
				f.fixed = "true"
			}
			flags[flagName("", name)] = f
			if option.Short != "" {
				flags["-"+option.Short] = argument{option, option.name(), f.fixed}
			}
		}
	}
	return flags
}

// flagName returns "--name" or "--group-name", with "no" in front for the inverse
// (oslo.config: cfg.py _get_argparse_prefix). Dashes are underscores here.
func flagName(prefix string, name Name) string {
	if name.Group != DefaultGroup {
		prefix += name.Group + "_"
	}
	return "--" + strings.ReplaceAll(prefix+name.Name, "-", "_")
}

func (p *argParser) next() error {
	arg := p.rest[0]
	p.rest = p.rest[1:]
	spelled, value, hasValue := strings.Cut(arg, "=")
	switch spelled {
	case "-h", "--help":
		return ErrHelp
	case "--version":
		return ErrVersion
	case "--config-file":
		return p.path(&p.src.Files, spelled, value, hasValue)
	case "--config-dir":
		return p.path(&p.src.Dirs, spelled, value, hasValue)
	}
	f, ok := p.flags[lookupName(spelled)]
	if !ok {
		// Only the name is shown: the text after = may be a password.
		return fmt.Errorf("unknown argument %s", spelled)
	}
	if f.fixed != "" && hasValue {
		return fmt.Errorf("flag %s takes no value: use %s or %s",
			spelled, flagDisplay(f.option, ""), flagDisplay(f.option, "no"))
	}
	if f.fixed != "" {
		value = f.fixed
	} else if err := p.value(spelled, &value, hasValue); err != nil {
		return err
	}
	p.src.Overrides[f.name] = append(p.src.Overrides[f.name], value)
	return nil
}

func lookupName(spelled string) string {
	name, long := strings.CutPrefix(spelled, "--")
	if !long {
		return spelled
	}
	return "--" + strings.ReplaceAll(name, "-", "_")
}

// flagDisplay returns the flag in the form for help texts, with dashes.
func flagDisplay(o *Option, prefix string) string {
	return "--" + strings.ReplaceAll(strings.TrimPrefix(flagName(prefix, o.name()), "--"), "_", "-")
}

func (p *argParser) path(list *[]string, spelled, value string, hasValue bool) error {
	if err := p.value(spelled, &value, hasValue); err != nil {
		return err
	}
	if value == "" {
		return fmt.Errorf("flag %s needs a path", spelled)
	}
	*list = append(*list, value)
	return nil
}

// value takes the next argument unless the flag was given with a value.
func (p *argParser) value(spelled string, value *string, hasValue bool) error {
	if hasValue {
		return nil
	}
	if len(p.rest) == 0 || isFlag(p.rest[0]) {
		return fmt.Errorf("flag %s needs a value", spelled)
	}
	*value, p.rest = p.rest[0], p.rest[1:]
	return nil
}

// isFlag distinguishes a flag from a value that is a lone dash or a negative number.
func isFlag(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && !floatText.MatchString(arg)
}

// WriteUsage writes the flags that ParseArgs knows, with their help.
func WriteUsage(w io.Writer, prog string, options []Option) error {
	t, err := newTable(options)
	if err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "usage: %s [flags]\n\n", prog)
	line(&text, "--config-file PATH", "Configuration file, may be repeated: later ones win.")
	line(&text, "--config-dir PATH", "Directory of *.conf files, read after the files; may be repeated.")
	line(&text, "--help, -h", "Show this text.")
	line(&text, "--version", "Show the version.")
	for _, name := range t.order {
		if o := t.options[name]; o.CLI {
			line(&text, o.usage(), o.Help)
		}
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("writing usage: %w", err)
	}
	return nil
}

func line(text *strings.Builder, flags, help string) {
	fmt.Fprintf(text, "  %s\n        %s\n", flags, strings.Join(strings.Fields(help), " "))
}
