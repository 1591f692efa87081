#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Record what oslo.config makes of configuration files.

The test of pkg/config replays the recorded cases against the Go reader. Each
case is run by the oslo.config that is installed (Debian: python3-oslo.config).

    vectors.py [DIRECTORY]      default: pkg/config/testdata

Three files are written:
  lexer.json     text -> assignments, or the first error and its line
  types.json     one text for one option type -> value or refusal
  resolve.json   files, arguments and environment -> value of each option
"""

import contextlib
import io
import json
import logging
import os
import pathlib
import random
import sys
import tempfile

from oslo_config import cfg
from oslo_config import iniparser
from oslo_config import types

sys.dont_write_bytecode = True
import cases  # noqa: E402, the inputs beside this file

ERRORS = {
    "No ':' or '=' found in assignment": 'assignment',
    'Key cannot be empty': 'key',
    'Unexpected continuation line': 'continuation',
    'Invalid section (must end with ])': 'bracket',
    'Empty section name': 'name',
    'Section must be started before assignment': 'no section',
}

KINDS = {
    'string': types.String, 'int': types.Integer, 'float': types.Float,
    'bool': types.Boolean, 'list': types.List, 'dict': types.Dict,
    'host': types.HostAddress, 'port': types.Port,
}

OPTIONS = {
    'string': cfg.StrOpt, 'int': cfg.IntOpt, 'float': cfg.FloatOpt,
    'bool': cfg.BoolOpt, 'list': cfg.ListOpt, 'dict': cfg.DictOpt,
    'multi': cfg.MultiStrOpt, 'host': cfg.HostAddressOpt,
    'port': cfg.PortOpt,
}


class Recorder(iniparser.BaseParser):
    """Keeps assignments in order, with the section they stand in."""

    def __init__(self):
        self.section = None
        self.found = []

    def new_section(self, section):
        self.section = section

    def assignment(self, key, value):
        if not self.section:  # as cfg.ConfigParser does
            raise iniparser.ParseError(
                'Section must be started before assignment', self.lineno, '')
        self.found.append([self.section, key, '\n'.join(value)])


def lex(text):
    parser = Recorder()
    lines = io.TextIOWrapper(io.BytesIO(text.encode()), encoding='utf-8')
    try:
        parser.parse(lines.readlines())
    except iniparser.ParseError as e:
        return {'text': text, 'error': ERRORS[e.msg], 'line': e.lineno}
    return {'text': text, 'assignments': parser.found}


def random_texts(count):
    """Files put together from the pieces that the rules are about."""
    rng = random.Random(20)
    for _ in range(count):
        lines = ['[s]'] if rng.random() < 0.9 else []
        for _ in range(rng.randint(1, 7)):
            if rng.random() < 0.75:
                lines.append(rng.choice(cases.GOOD_LINES))
            else:
                size = rng.randint(0, 5)
                lines.append(''.join(
                    rng.choice(cases.PIECES) for _ in range(size)))
        yield rng.choice(['\n', '\n', '\n', '\r\n', '\r']).join(lines)


def show(value):
    """A value as str() shows it; dicts sorted; None told from ''."""
    if isinstance(value, dict):
        value = dict(sorted(value.items()))
    return {'none': True} if value is None else {'value': str(value)}


def convert(kind, text, limits):
    case = {'kind': kind, 'text': text, **limits}
    try:
        return {**case, **show(KINDS[kind](**limits)(text))}
    except ValueError:
        return {**case, 'error': True}


def register(conf, option):
    kwargs = {k: option[k] for k in ('default', 'short', 'secret', 'min',
                                     'max', 'choices') if k in option}
    old = [cfg.DeprecatedOpt(name, group=group or None)
           for group, name in option.get('deprecated', [])]
    opt = OPTIONS[option['kind']](option['name'], deprecated_opts=old,
                                  **kwargs)
    group = option.get('group')
    if option.get('cli'):
        conf.register_cli_opt(opt, group=group)
    else:
        conf.register_opt(opt, group=group)


def resolve(case, root):
    for path, text in case['files'].items():
        path = root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    os.environ.clear()
    os.environ['HOME'] = str(root / 'home')
    for name, value in case.get('env', {}).items():
        os.environ[name] = value.replace('@', str(root))
    conf = cfg.ConfigOpts()
    for option in cases.OPTIONS:
        register(conf, option)
    args = [a.replace('@', str(root)) for a in case.get('args', [])]
    result = {}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # remarks of argparse
            conf(args, project=case.get('project'), prog=case.get('prog'))
    except (cfg.Error, SystemExit):
        return {**case, 'refused': True}
    for option in cases.OPTIONS:
        group, name = option.get('group'), option['name'].replace('-', '_')
        try:
            value = conf[group][name] if group else conf[name]
            result[(group + '.' if group else '') + name] = show(value)
        except (cfg.Error, RecursionError):
            result[(group + '.' if group else '') + name] = {'error': True}
    return {**case, 'result': result}


def write(path, vectors):
    text = json.dumps(vectors, indent=1, sort_keys=True, ensure_ascii=True)
    path.write_text(text + '\n')


def main():
    here = pathlib.Path(__file__).resolve()
    default = here.parents[2] / 'pkg' / 'config' / 'testdata'
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    logging.disable(logging.CRITICAL)  # warnings on former names

    texts = cases.TEXTS + list(random_texts(400))
    write(out / 'lexer.json', [lex(text) for text in texts])
    write(out / 'types.json', [convert(*c) for c in cases.types()])
    resolved = []
    for case in cases.RESOLVE:
        with tempfile.TemporaryDirectory() as root:
            resolved.append(resolve(case, pathlib.Path(root)))
    write(out / 'resolve.json',
          {'options': cases.OPTIONS, 'cases': resolved})


if __name__ == '__main__':
    main()
