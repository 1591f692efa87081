#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""record.py: writes vectors.json, what oslo.log and the C library make of formats, options and time zones.

It runs with Debian's python3-oslo.log and python3-oslo.context.
"""
import json
import logging
import logging.handlers
import os
import sys
import time

from oslo_config import cfg
from oslo_context import context
from oslo_log import _options
from oslo_log import formatters
from oslo_log import log

MOMENT = 1795362440.975  # 2026-11-22 15:47:20.975 UTC
CONTEXT = {
    'request_id': 'req-1', 'global_request_id': 'req-g', 'user_id': 'u', 'project_id': 'p', 'domain_id': 'd',
    'user_domain_id': 'ud', 'project_domain_id': 'pd', 'system_scope': 'all', 'user_name': 'un', 'project_name': 'pn',
}
PLAIN = [
    None,
    '%(asctime)s %(levelname)s: %(message)s',
    '%(levelname)-8s|%(name)20s|%(process)d|%(message)s',
    '%(msecs)03d|%(msecs)d|%(msecs)06d|%(levelno)s|%(levelno)03d|100%%',
    '%(isotime)s %(levelname).3s %(name)s',
    '%(levelname)5.2s|%(message)10.3s',
    '%(color)s%(levelname)s %(instance)s%(resource)s%(message)s',
    '%(created)f %(message)s',
]
ABOUT = [
    None,
    '%(asctime)s.%(msecs)03d %(levelname)s %(name)s [%(request_id)s %(user_identity)s] %(message)s',
    '[%(global_request_id)s %(request_id)s %(user)s %(project_id)s %(user_domain)s] %(message)s',
    '%(user_name)s|%(project_name)s|%(domain)s|%(system_scope)s|%(project_domain)s',
]
IDENTITY = [None, '%(user)s %(project)s %(domain)s %(user_domain)s %(project_domain)s', '%(user_name)s/%(nobody)s', '%(user)-4s|']
LEVELS = ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL']


def conf(**overrides):
    c = cfg.ConfigOpts()
    log.register_options(c)
    c([])
    for name, value in overrides.items():
        if value is not None:
            c.set_override(name, value)
    return c


def lines():
    for about in (None, CONTEXT, {k: v for k, v in CONTEXT.items() if k in ('request_id', 'user_id')}):
        for fmt in (ABOUT if about else PLAIN):
            for identity in (IDENTITY if about and fmt is None else [None]):
                for level in LEVELS:
                    key = 'logging_context_format_string' if about else 'logging_default_format_string'
                    c = conf(**{key: fmt, 'logging_user_identity_format': identity,
                                'logging_debug_format_suffix': '[%(levelname)s]'})
                    f = formatters.ContextFormatter(config=c, datefmt=c.log_date_format)
                    r = logging.LogRecord('karbor.manager', getattr(logging, level), '/x/y.py', 7, 'hello', (), None, 'f')
                    r.created, r.msecs, r.process = MOMENT, 975.0, 4711
                    if about:
                        r.context = context.RequestContext(overwrite=False, **about)
                    yield {'format': fmt, 'identity': identity, 'level': level, 'context': about, 'line': f.format(r)}


def dates():
    for fmt in ['%Y-%m-%d %H:%M:%S', '%d/%b/%Y:%H:%M:%S %z', '%a %b %e %T %Y', 'at 15 o\'clock on 2006-01-02: %H', '%j %U %y%m%d %I%p',
                '%FT%T%z', '%%Y %Y', '%A %B', '%D %R']:
        yield {'format': fmt, 'text': time.strftime(fmt, time.gmtime(MOMENT))}


def zones():
    for tz in ['CET-1CEST,M3.5.0,M10.5.0/3', 'EST5EDT,M3.2.0,M11.1.0', '<+0330>-3:30', 'UTC0', 'AEST-10AEDT,M10.1.0,M4.1.0/3',
               'IST-5:30', ':CET-1CEST,M3.5.0,M10.5.0/3', 'CET-1CEST', 'NZST-12NZDT,J273/2,J94/3', '<-03>3', 'XYZ8', '']:
        os.environ['TZ'] = tz
        time.tzset()
        for moment in [0, 1700000000, 1711846799, 1711846801, 1719800000, 1729990799, 1729990801, 1735689600, 1795362440]:
            yield {'tz': tz, 'moment': moment, 'text': time.strftime('%Y-%m-%d %H:%M:%S %Z %z', time.localtime(moment))}


def rotations():
    os.environ['TZ'] = 'CET-1CEST,M3.5.0,M10.5.0/3'
    time.tzset()
    for when, interval in [('S', 5), ('M', 1), ('H', 3), ('D', 1), ('D', 2), ('MIDNIGHT', 1), ('W0', 1), ('W3', 1), ('W6', 1)]:
        for moment in [1700000000, 1709247600, 1795362440]:
            h = logging.handlers.TimedRotatingFileHandler('/dev/null', when=when, interval=interval, delay=True)
            at = h.computeRollover(moment)
            yield {'when': when[0] if when[0] == 'W' else when, 'interval': int(when[1]) if when[0] == 'W' else interval,
                   'moment': moment, 'next': at, 'suffix': time.strftime(h.suffix, time.localtime(at - h.interval))}


os.environ['TZ'] = 'UTC'
time.tzset()
vectors = {
    'options': [{'name': o.dest, 'default': o.default if isinstance(o.default, (str, bool, int, type(None))) else None}
                for group in (_options.common_cli_opts, _options.logging_cli_opts, _options.generic_log_opts, _options.log_opts,
                              log._options.versionutils.deprecated_opts) for o in group],
    'lines': list(lines()), 'dates': list(dates()), 'zones': list(zones()), 'rotations': list(rotations()),
}
with open(os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), 'vectors.json'), 'w') as out:
    sections = ['"%s": [\n%s\n]' % (name, ',\n'.join(json.dumps(v, sort_keys=True) for v in vectors[name])) for name in vectors]
    out.write('{\n' + ',\n'.join(sections) + '\n}\n')
