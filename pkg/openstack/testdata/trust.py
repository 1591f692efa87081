#!/usr/bin/python3
"""Does with Keystone what karbor-api and karbor-operationengine do with [trustee] of karbor.conf.

trust.py AUTH_URL PASSWORD make USER DEFAULT_PROJECT   makes a user as an operator does; "-" is no default project
trust.py AUTH_URL PASSWORD engine CONF                 a schedule's trust: made, logged in to, deleted
trust.py AUTH_URL PASSWORD remove USER
"""
import sys

from keystoneauth1 import loading
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from keystoneclient.v3 import client
from oslo_config import cfg

AUTH_URL, PASSWORD, COMMAND, SUBJECT = sys.argv[1:5]


def keystone(auth):
    return client.Client(session=keystone_session.Session(auth=auth), endpoint_override=AUTH_URL)


def password_of(user, project):
    return v3.Password(auth_url=AUTH_URL, username=user, password=PASSWORD, project_name=project,
                       user_domain_id="default", project_domain_id="default")


def make(default_project):
    admin = keystone(password_of("admin", "admin"))
    service = admin.projects.list(name="service", domain="default")[0]
    default = {} if default_project == "-" else {"default_project": service}
    user = admin.users.create(SUBJECT, domain="default", password=PASSWORD, **default)
    for role in admin.roles.list():
        if role.name in ("admin", "service"):
            admin.roles.grant(role, user=user, project=service)


def remove():
    admin = keystone(password_of("admin", "admin"))
    for user in admin.users.list(name=SUBJECT, domain="default"):
        admin.users.delete(user)


def engine():
    conf = cfg.ConfigOpts()
    loading.register_auth_conf_options(conf, "trustee")
    conf(["--config-file", SUBJECT])

    def service(trust_id=None):
        return loading.load_auth_from_conf_options(conf, "trustee", trust_id=trust_id)

    trustees = keystone(service()).users.list(name=conf.trustee.username, domain=conf.trustee.user_domain_id)
    trustor = password_of("demo", "demo")
    session = keystone_session.Session(auth=trustor)
    trust = keystone(trustor).trusts.create(
        trustor_user=trustor.get_user_id(session), trustee_user=trustees[0].id,
        project=trustor.get_project_id(session), impersonation=True,
        role_names=list(trustor.get_access(session).role_names))
    try:
        run = keystone_session.Session(auth=service(trust.id))
        if run.get_project_id() != trustor.get_project_id(session) or run.get_user_id() != trustor.get_user_id(session):
            sys.exit("the trust's token is another's")
        keystone(service(trust.id)).trusts.delete(trust.id)
    except Exception:
        keystone(trustor).trusts.delete(trust.id)
        raise


if COMMAND == "make":
    make(sys.argv[5])
elif COMMAND == "remove":
    remove()
else:
    engine()
