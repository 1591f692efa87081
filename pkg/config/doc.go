// SPDX-License-Identifier: Apache-2.0

// Package config reads configuration files, environment and command line as
// oslo.config does, so that a karbor.conf or a provider file written for the
// Python services gives the same values here.
//
// A package declares its options in a table of [Option]. [Load] resolves the
// tables of a program from all sources into an immutable [Config]; [LoadFile]
// reads one file with a table of its own. The sample file, the reference page
// and the usage text are made from the same tables.
//
// # Sources
//
// The strongest source that has an option gives its value: the command line,
// the environment (OS_<GROUP>__<OPTION>), the files, the default. Of several
// files the last wins, and in a file the last occurrence; the occurrences of a
// MultiString add up over lines and files, earlier ones first.
//
// # Default files
//
// Without --config-file, <project>.conf and <prog>.conf are looked for, each
// in the first directory that has it of ~/.<project>, ~, /etc/<project>, /etc,
// $SNAP_COMMON/etc/<project> and $SNAP/etc/<project>. Without --config-dir the
// same holds for the directories <project>.conf.d and <prog>.conf.d, of which
// all *.conf are read in the order of their names. Default files come before
// default directories and both before what the command line gives.
//
// # Grammar
//
// The first column decides: # and ; begin a comment, [ a section, a blank or
// tab continues the value above, anything else is "key = value" or "key:
// value". There are no comments behind a value. One pair of equal quotes
// around a value is removed. Group names ignore case, except that DEFAULT is
// written so; option names do not.
//
// $name, ${name}, $group.name and ${group.name} stand for the value of another
// option: a plain name is looked for in the same group and then in DEFAULT. $$
// is a dollar sign. A reference to no option is an error.
//
// # Why a lexer beside ini.v1
//
// gopkg.in/ini.v1 holds a read file (sections, keys, the last value and all
// values of a key), and no more. Its parser differs from oslo.config for
// inputs that occur in real files, under every combination of its options:
// continuation lines keep their indent, backticks are stripped, an indented
// comment is not part of the value above, values with %(name)s are expanded,
// and repeated single values do not yield the last. Nor does it tell line
// numbers. So a small lexer with the rules of oslo_config/iniparser.py reads
// the text and fills the model. Writing is ours too: ini.v1 puts a value of
// several lines between triple quotes and leaves outer quotes of a value bare,
// both of which oslo.config reads as other values. A test keeps these
// differences on record, so that a later ini.v1 may take the lexer's place.
//
// # Differences from oslo.config
//
// They are few and deliberate. All wrong values are found at load, not at
// first use, and reported together. The command line wins over the files even
// if --config-file stands behind the flag. An empty number is the default, not
// None, and integers have 64 bits. A MultiString in the environment is one
// value, not one for each character. Flags accept dashes for underscores and
// cannot be abbreviated.
package config
