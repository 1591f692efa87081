#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records what SQLAlchemy and its drivers make of connection URLs.

Run it in pkg/database, with Debian's python3-sqlalchemy, python3-pymysql and
python3-psycopg2: testdata/urls.py > testdata/urls.json
"""

import json
import ssl
import warnings

import pymysql
from sqlalchemy.engine.url import make_url

warnings.simplefilter('ignore')

MYSQL = [
    'mysql+pymysql://karbor:pw@db/karbor?charset=utf8',
    'mysql://karbor:pw@db/karbor',
    'mariadb+pymysql://karbor:pw@db:3307/karbor?charset=utf8mb4',
    'mysql+pymysql://karbor:100%@db/karbor',
    'mysql+pymysql://karbor:a%zzb%2@db/karbor',
    'mysql+pymysql://karbor:a%25zz%40%2F@db/karbor',
    'mysql+pymysql://karbor:p+w%2B@db/karbor',
    'mysql+pymysql://karbor:%C3%BC@db/karbor',
    'mysql+pymysql://u:@h/k%20x',
    'mysql+pymysql://[fd00::1]:3310/k',
    'mysql+pymysql://u:p@/k?unix_socket=/run/mysqld/mysqld.sock',
    'mysql+pymysql://u:p@h/k?charset=&connect_timeout=7',
    'mysql+pymysql://u:p@h/k?charset=latin1',
    'mysql+pymysql://u:p@h/k?host=other&user=me&password=s%25x',
    'mysql+pymysql://u:p@h/k?read_default_file=testdata/my.cnf',
    'mysql+pymysql:///k?read_default_file=testdata/my.cnf',
    'mysql+pymysql:///k?read_default_file=testdata/my.cnf&read_default_group=client',
    'mysql+pymysql://?read_default_file=testdata/my.cnf&read_default_group=plain',
    'mysql+pymysql://u@h:3399/?read_default_file=testdata/my.cnf&read_default_group=plain',
    'mysql+pymysql://u:p@h/k?ssl_ca=testdata/ca.pem',
    'mysql+pymysql://u:p@h/k?ssl_ca=testdata/ca.pem&ssl_check_hostname=false',
    'mysql+pymysql://u:p@h/k?ssl_ca=testdata/ca.pem&ssl_check_hostname=true',
    'mysql+pymysql://u:p@h/k?ssl_capath=testdata',
    'mysql+pymysql://u:p@h/k?ssl_check_hostname=false',
    'mysql+pymysql://u:p@h/k?ssl_ca=testdata/ca.pem&ssl_disabled=true',
    'mysql+pymysql://u:p@h/k?ssl_ca=testdata/ca.pem&charset=utf8&connect_timeout=3',
    'mysql+pymysql:///k?read_default_file=testdata/my.cnf&ssl_disabled=true',
]

POSTGRESQL = [
    'postgresql://karbor:pw@db/karbor',
    'postgresql+psycopg2://u@[fd00::1]:5433/k',
    'postgresql://u:100%@h/k',
    'postgresql://u:p@/k?host=/run/postgresql',
    'postgresql://u:p@h:5433/k?host=other',
    'postgresql://u:p@h/k?user=me&password=x%2By&port=5440',
    'postgresql://u:p@/k?host=a:5433&host=b:5434&host=c',
    'postgresql://u:p@/k?host=a,b&port=5433,5434&target_session_attrs=read-write',
    'postgresql://u:p@/k?host=a,b,c&port=5433',
    'postgresql://u:p@h/k?sslmode=require&application_name=karbor+worker',
    'postgresql://u:p@h:5433/k?host=a:1&host=b:2',
]


def mysql(url):
    args, opts = url.get_dialect()().create_connect_args(url)
    opts = {{'passwd': 'password', 'db': 'database'}.get(k, k): v for k, v in opts.items()}
    c = pymysql.connect(*args, defer_connect=True, **opts)
    seen = dict(user='' if c.user == pymysql.connections.DEFAULT_USER else c.user or '', password=c.password.decode('latin1'), host=c.host, port=str(c.port), name=c.db or '',
                socket=c.unix_socket or '', charset=c.charset, tls=bool(c.ssl))
    if c.ssl:
        seen['chain'], seen['hostname'] = c.ctx.verify_mode == ssl.CERT_REQUIRED, bool(c.ctx.check_hostname)
    if isinstance(seen['user'], bytes):
        seen['user'] = seen['user'].decode()
    return seen


def postgresql(url):
    _, opts = url.get_dialect()().create_connect_args(url)
    return {key: str(value) for key, value in opts.items()}


def record(text, read):
    url = make_url(text.replace('mysql://', 'mysql+pymysql://') if text.startswith('mysql://') else text)
    try:
        return dict(url=text, got=read(url))
    except Exception as error:  # what Python refuses
        return dict(url=text, error=type(error).__name__)


print(json.dumps(dict(mysql=[record(u, mysql) for u in MYSQL], postgresql=[record(u, postgresql) for u in POSTGRESQL]),
                 indent=1, sort_keys=True))
