# SPDX-License-Identifier: Apache-2.0
"""The inputs of vectors.py."""

# Whole files for the lexer.
TEXTS = [
    '',
    '\n\n',
    '[DEFAULT]\nhost = a\n',
    '[DEFAULT]\nhost=a',
    '[DEFAULT]\r\nhost = a\r\n  b\r\n',
    '[DEFAULT]\rhost = a\r',
    'host = a\n',
    '# only a comment\n; another\n',
    '# comment\n  indented\n',
    '  first = line\n',
    '\tfirst = line\n',
    '[s]\n  [t]\n',
    '[s]\na = 1\n  [t]\n',
    '[s\na = 1\n',
    '[s] \na = 1\n',
    '[s] # no comment here\n',
    '[]\n',
    '[ ]\na = 1\n',
    '[ s ]\na = 1\n',
    '[a]b]\nk = v\n',
    '[[s]]\nk = v\n',
    '[s]\nplain\n',
    '[s]\n= v\n',
    '[s]\n: v\n',
    '[s]\n  = v\n',
    '[s]\nk =\n',
    '[s]\nk =\n  continued\n',
    '[s]\nk = a\n\n  late\n',
    '[s]\nk = a\n# comment\n  late\n',
    '[s]\nk = a\n  # part of the value\n  ; this too\n',
    '[s]\nk = a\n  b\n    c\n\td  \n',
    '[s]\nk = a # not a comment\nl = b ; nor this\n',
    '[s]\nid=abc  # x\n',
    '[s]\npw = a#b;c\n',
    '[s]\nq = "hello # world"\n',
    "[s]\nq = 'hello'\n",
    '[s]\nq = "open\n',
    '[s]\nq = \'mixed"\n',
    '[s]\nq = "\n',
    "[s]\nq = '\n",
    '[s]\nq = ""\n',
    '[s]\nq = """\n',
    '[s]\nq = ""inner""\n',
    '[s]\nq = "a" and "b"\n',
    '[s]\nq = " kept "\n',
    '[s]\nq = "first\n  second"\n',
    '[s]\nb = `raw $x`\n',
    '[s]\nx = %(debug)s-x\n',
    '[s]\ntrail = abc\\\nnext = 1\n',
    '[s]\ncolon: v=1\n',
    '[s]\nequal = v:1\n',
    '[s]\nurl = rabbit://u:p@h:5672/\n',
    '[s]\na b c = d\n',
    '[s]\nplugin=a\nplugin = b\n[t]\nx=1\n[S]\nplugin=e\n',
    '[s]\nx = 1\nx = 2\n',
    '[s]\nk = \u00fcml\u00e4ut \u2603\n',
    '[s]\nk = \u00a0nbsp\u00a0\n',
    '[s]\nk = \x1funit\x1f\n',
    '[s]\n\x0bk = vertical\n',
    '[s]\n\x0c\n',
    '[s]\nk = a\x0bb\u2028c\x85d\n',
    '\ufeff[s]\nk = v\n',
    '[s]\nk\x00 = a\x00b\n',
    '[s]\nk = v\n \n',
    '[s]\nk = v\n \n  late\n',
    '[s]\n]\n',
    '[s]\nk = [list]\n',
    '[s]\n#k = v\n #k = v\n',
    '[s]\nb',
    '[s]\nk = v\n[',
]

# What vectors.py puts random files together from.
GOOD_LINES = [
    '[t]', '[T]', '[DEFAULT]', 'k = v', 'k=w', 'list = a,b', 'k: "q"',
    "k = 'q'", ' more', '\tmore', '', '# c', '; c', 'x = ', 'x = "', 'x=" a "',
]
PIECES = [
    ' ', '\t', '=', ':', '[', ']', '#', ';', '"', "'", '`', '\\', '$', '%',
    'k', 'value', '\u00e9', '\u00a0', '\x1c', '\u2028', ',',
]


def types():
    """Yield (kind, text, limits)."""
    bounds = {'min': 1, 'max': 10}
    for text in ['true', 'TRUE', 'True', '1', 'on', 'ON', 'yes', 'Yes',
                 'false', '0', 'off', 'no', 'nO', '', ' true', 'true ', 't',
                 'y', 'n', 'f', '2', '01', 'enabled', 'None']:
        yield 'bool', text, {}
    for text in ['0', '5', '-5', '+5', ' 7 ', '007', '1_000', '1__0', '_1',
                 '1_', '0x10', '1.0', '1e3', 'abc', '', '  ', '--1', '- 1',
                 '9223372036854775807', '-9223372036854775808']:
        yield 'int', text, {}
    for text in ['0', '1', '10', '11', '', '5.5']:
        yield 'int', text, bounds
    for text in ['0', '1', '-1']:
        yield 'int', text, {'min': 0}
        yield 'int', text, {'max': 0}
    for text in ['0', '1', '1.5', '.5', '5.', '.', '-2.5e3', '1e5', '1E-7',
                 '1e16', '123456789012345678', '1_0.5', '1_.5', '0x1p3',
                 'inf', '-Infinity', 'nan', '1e999', '', ' 2 ', 'x', '1e',
                 '0.0001', '0.00001', '1,5']:
        yield 'float', text, {}
    for text in ['0.99', '1', '10', '10.01', 'nan']:
        yield 'float', text, bounds
    for text in ['0', '1', '65535', '65536', '-1', '', 'http']:
        yield 'port', text, {}
    yield 'port', '80', {'min': 1024}
    for text in ['', 'a', 'a,b', ' a , b ', 'a,,b', 'a,b,', 'a,b,,', ',',
                 ',a', 'a b,c', '"a,b"', 'a\nb,c', '[a,b]']:
        yield 'list', text, {}
    for text in ['', ' ', 'a:1', 'a:1,b:2', ' a : 1 , b : 2 ', 'a:1,c',
                 'c,a:1', 'a:1:2', ':1', 'a:', 'a:1,a:2', 'a', 'a:1,',
                 'a:1,,b:2', 'k:http://x:80/,l:m']:
        yield 'dict', text, {}
    for text in ['127.0.0.1', '0.0.0.0', '1.2.3', '1.2.3.4.5', '256.1.1.1',
                 '01.2.3.4', '::', '::1', 'fe80::1', 'fe80::1%eth0',
                 '::ffff:1.2.3.4', '1::2::3', 'localhost', 'LocalHost',
                 'a.b.c', 'a.b.c.', 'a..b', '-a', 'a-', 'a-b', 'a_b', '123',
                 'node-1', 'node.1', '1.node', '', '.', ' a', 'a b',
                 'a' * 63, 'a' * 64, '.'.join(['a' * 60] * 4),
                 '.'.join(['a' * 63] * 4), '[::1]', 'h\u00f6st', 'a:80']:
        yield 'host', text, {}
    for text in ['noauth', 'keystone', 'Keystone', '', 'x']:
        yield 'string', text, {'choices': ['noauth', 'keystone']}
    for text in ['', ' x ', '"x"']:
        yield 'string', text, {}


# For the resolution cases. "@" in arguments and environment is the directory
# that holds the files.
OPTIONS = [
    {'name': 'host', 'kind': 'string', 'default': 'here'},
    {'name': 'state_path', 'kind': 'string', 'default': '/var/lib/karbor',
     'cli': True, 'deprecated': [['', 'pybasedir']]},
    {'name': 'debug', 'kind': 'bool', 'default': False, 'cli': True,
     'short': 'd'},
    {'name': 'url', 'kind': 'string',
     'default': 'sqlite:///$state_path/karbor.sqlite'},
    {'name': 'none', 'kind': 'string'},
    {'name': 'rate', 'kind': 'float', 'default': 1.0},
    {'group': 'prov', 'name': 'plugin', 'kind': 'multi',
     'deprecated': [['old', 'plug']]},
    {'group': 'prov', 'name': 'name', 'kind': 'string', 'default': 'p'},
    {'group': 'prov', 'name': 'count', 'kind': 'int', 'default': 3, 'min': 0,
     'deprecated': [['DEFAULT', 'counter'], ['prov', 'cnt']]},
    {'group': 'prov', 'name': 'tags', 'kind': 'list'},
    {'group': 'prov', 'name': 'map', 'kind': 'dict'},
    {'group': 'prov', 'name': 'port', 'kind': 'port', 'default': 80},
]


def one(name, text, **more):
    """A case of one file that the command line names."""
    return {'name': name, 'files': {'a.conf': text},
            'args': ['--config-file', '@/a.conf'], **more}


def two(name, first, second, **more):
    return {'name': name,
            'files': {'a.conf': first, 'b.conf': second},
            'args': ['--config-file', '@/a.conf',
                     '--config-file=@/b.conf'], **more}


def home(name, files, **more):
    """A case of the default search for project karbor."""
    return {'name': name, 'files': files,
            'project': 'karbor', 'prog': 'karbor-protection', **more}


RESOLVE = [
    one('defaults', ''),
    one('group case', '[PROV]\nname = a\n[Prov]\nplugin = b\n[default]\n'
        'host = lost\n'),
    one('key case', '[prov]\nName = a\n'),
    one('unknown ignored', '[nowhere]\nx = 1\n[prov]\ny = 2\nname = a\n'),
    one('last wins', '[prov]\nname = a\nname = b\n[prov]\nname = c\n'),
    one('last wins over case', '[Prov]\nname = a\n[prov]\nname = b\n'
        '[Prov]\nname = c\n'),
    one('multi', '[prov]\nplugin=a\nplugin = b\nplugin=a\nplugin=c,d\n'
        '[x]\n[PROV]\nplugin=e\nplugin=\n'),
    two('two files scalar', '[prov]\nname = a\ncount = 1\n',
        '[prov]\nname = b\n'),
    two('two files multi', '[prov]\nplugin = a\nplugin = b\n',
        '[prov]\nplugin = c\n'),
    one('deprecated name', '[DEFAULT]\npybasedir = /old\n'),
    one('deprecated beside current', '[DEFAULT]\npybasedir = /old\n'
        'state_path = /new\n'),
    two('deprecated in the later file', '[DEFAULT]\nstate_path = /new\n',
        '[DEFAULT]\npybasedir = /old\n'),
    one('deprecated group', '[DEFAULT]\ncounter = 7\n'),
    one('deprecated order', '[DEFAULT]\ncounter = 7\n[prov]\ncnt = 8\n'),
    one('deprecated multi', '[old]\nplug = x\n[prov]\nplugin = a\n'),
    two('deprecated multi in two files', '[old]\nplug = x\n',
        '[prov]\nplugin = a\n[OLD]\nplug = y\n'),
    one('reference', '[DEFAULT]\nstate_path = /srv\n[prov]\n'
        'name = $host-${host}.$count\n'),
    one('reference to own group first', '[prov]\nname = n$count\n'
        'tags = ${prov.name},$name, $host\nmap = $name:$port\n'),
    one('reference to group', '[DEFAULT]\nhost = $prov.name!${prov.count}\n'),
    one('reference to none', '[prov]\nname = <$none>\n'),
    one('reference texts', '[prov]\nname = $debug $rate $tags\n'
        'tags = a,b\n'),
    one('reference chain', '[DEFAULT]\nhost = $none$state_path\n[prov]\n'
        'name = $host\nplugin = $name/1\nplugin = x$host\n'),
    one('dollar signs', '[DEFAULT]\nhost = $$host\nnone = \\$host $5 $ ${x '
        '$-a\n[prov]\nname = a$\n'),
    one('reference to nothing', '[prov]\nname = pa$word\n'),
    one('reference with trailing dot', '[prov]\nname = $host.\n'),
    one('reference to DEFAULT', '[prov]\nname = $DEFAULT.host\n'),
    one('reference group case', '[prov]\ntags = $PROV.name\n'),
    one('reference name case', '[prov]\ntags = $NAME\n'),
    one('reference to a group only', '[prov]\ntags = $prov\n'),
    one('reference to itself', '[prov]\nname = x$name\n'),
    one('reference cycle', '[DEFAULT]\nhost = $prov.name\n[prov]\n'
        'name = $host\n'),
    one('reference to a wrong value', '[prov]\ncount = x\nname = $count\n'),
    one('number with reference', '[prov]\ncount = 4\nport = 808$count\n'),
    one('wrong number', '[prov]\ncount = -1\nport = 70000\n'),
    one('empty number', '[prov]\ncount =\n'),
    one('empty texts', '[prov]\nname =\ntags =\nmap =\n'),
    one('continued', '[prov]\ntags = a,\n  b,\n  c\nname = x\n  y\n'),
    one('environment', '[prov]\nname = file\ncount = 1\n',
        env={'OS_PROV__NAME': 'env', 'OS_DEFAULT__HOST': 'e$state_path',
             'OS_PROV__TAGS': 'a,b', 'os_prov__count': '9'}),
    one('environment empty', '[prov]\nname = file\n',
        env={'OS_PROV__NAME': ''}),
    one('environment wrong', '[prov]\ncount = 1\n',
        env={'OS_PROV__COUNT': 'x'}),
    one('environment multi', '[prov]\nplugin = a\n',
        env={'OS_PROV__PLUGIN': 'xy'}),
    one('command line', '[DEFAULT]\nhost = h\n',
        args=['--config-file', '@/a.conf', '--state_path', '/cli', '-d']),
    one('command line equals', '[DEFAULT]\nstate_path = /file\n',
        args=['--config-file', '@/a.conf', '--state_path=/a=b', '--debug']),
    one('command line last', '',
        args=['--state_path=/a', '--state_path=/b', '--debug', '--nodebug']),
    one('command line former name', '', args=['--pybasedir', '/old']),
    one('command line over environment', '',
        args=['--state_path', '/cli'], env={'OS_DEFAULT__STATE_PATH': '/e'}),
    one('command line before its file', '[DEFAULT]\nstate_path = /file\n',
        args=['--state_path', '/cli', '--config-file', '@/a.conf']),
    one('command line reference', '', args=['--state_path', '/$host']),
    one('unknown flag', '', args=['--zzz']),
    one('unknown argument', '', args=['zzz']),
    one('flag without value', '', args=['--state_path']),
    one('boolean with value', '', args=['--debug=true']),
    one('missing file', '', args=['--config-file', '@/absent.conf']),
    one('missing directory', '', args=['--config-dir', '@/absent.d']),
    one('broken file', '[prov\n'),
    {'name': 'directory', 'files': {
        'a.conf': '[prov]\nname = file\nplugin = f\nport = 1\n',
        'd/20.conf': '[prov]\nname = twenty\nplugin = t\n',
        'd/10.conf': '[prov]\nname = ten\nplugin = u\ncount = 10\n',
        'd/.hidden.conf': '[prov]\nname = hidden\n',
        'd/30.ini': '[prov]\nname = ini\n'},
     'args': ['--config-file', '@/a.conf', '--config-dir', '@/d']},
    home('home search', {
        'home/.karbor/karbor.conf': '[prov]\nname = dot\nplugin = a\n',
        'home/karbor.conf': '[prov]\nname = home\ncount = 5\n',
        'home/karbor-protection.conf': '[prov]\nplugin = b\n'}),
    home('home directories', {
        'home/karbor.conf': '[prov]\nname = file\nplugin = a\n',
        'home/.karbor/karbor.conf.d/1.conf': '[prov]\nname = one\n'
        'plugin = b\n',
        'home/karbor.conf.d/2.conf': '[prov]\nplugin = lost\n',
        'home/karbor-protection.conf.d/3.conf': '[prov]\nplugin = c\n'}),
    home('snap search', {
        'common/etc/karbor/karbor.conf': '[prov]\nname = common\n',
        'snap/etc/karbor/karbor.conf': '[prov]\nname = snap\n',
        'snap/etc/karbor/karbor-protection.conf': '[prov]\ncount = 8\n'},
        env={'SNAP': '@/snap', 'SNAP_COMMON': '@/common'}),
    home('given file and default directory', {
        'home/karbor.conf': '[prov]\nname = lost\n',
        'home/karbor.conf.d/1.conf': '[prov]\nname = dir\nplugin = d\n',
        'a.conf': '[prov]\nname = given\nplugin = a\n'},
        args=['--config-file', '@/a.conf']),
    home('given directory and default file', {
        'home/karbor.conf': '[prov]\nname = file\nplugin = a\n',
        'home/karbor.conf.d/1.conf': '[prov]\nname = lost\n',
        'd/1.conf': '[prov]\nname = given\nplugin = d\n'},
        args=['--config-dir', '@/d']),
    home('tilde', {'home/x.conf': '[prov]\nname = tilde\n'},
         args=['--config-file', '~/x.conf']),
]
