#!/usr/bin/python3
"""Records what openstacksdk makes of clouds: record.py > clouds.json.

A case is what the folder ~/.config/openstack holds, the environment, and the name that is asked for. Each runs in a process and
a home of its own, since the library reads its paths when it is imported.
"""
import json
import os
import subprocess
import sys
import tempfile

BASE = {"auth_url": "http://k/v3", "username": "u", "password": "p", "project_name": "j"}


def auth(**more):
    return {"auth": {**BASE, **more}}


def without(*names, **more):
    return {"auth": {**{k: v for k, v in BASE.items() if k not in names}, **more}}


# name: (entry x of clouds.yaml, other files, environment, name)
CLOUDS = {
    "plain": auth(),
    "domains by name": auth(user_domain_name="U", project_domain_name="P"),
    "domains by id": auth(user_domain_id="u1", project_domain_id="p1"),
    "one domain id": auth(domain_id="d"),
    "one domain name": auth(domain_name="D"),
    "one domain and another": auth(domain_name="D", user_domain_name="U"),
    "default domain": auth(default_domain="default"),
    "default domain id": auth(default_domain_id="default"),
    "domain scope": without("project_name", domain_name="D", user_domain_name="U"),
    "domain beside": {**without("project_name", user_domain_name="U"), "domain_id": "d"},
    "unscoped": without("project_name"),
    "system scope": without("project_name", system_scope="all"),
    "trust": without("project_name", trust_id="t"),
    "project by id": without("project_name", project_id="i"),
    "tenant": without("project_name", tenant_name="old"),
    "tenant id": without("project_name", tenant_id="old"),
    "tenant and project": auth(tenant_name="old"),
    "user by id": without("username", user_id="i"),
    "user_name": without("username", user_name="old"),
    "all beside auth": dict(BASE),
    "some beside auth": {**without("password"), "password": "top"},
    "both places": {**auth(), "password": "top", "username": "top"},
    "project in both places": {**auth(), "project_name": "top"},
    "tenant beside, project within": {**auth(), "tenant_name": "top"},
    "project beside, tenant within": {**without("project_name", tenant_name="within"), "project_name": "top"},
    "dashes": {"auth": {"auth-url": "http://k", "username": "u", "password": "p", "project-name": "j", "user-domain-name": "U"}},
    "dashes beside": {"auth-url": "http://k", "username": "u", "password": "p", "project-name": "j", "project-domain-id": "P"},
    "dashed tls": {**auth(), "auth-type": "password", "region-name": "R"},
    "numbers": without("project_name", password=1234, project_id=42),
    "float": without("password", password=1.5),
    "project of digits": without("project_name", project_name=42),
    "leading zeros": without("password", password="007"),
    "v3password": {**auth(), "auth_type": "v3password"},
    "auth_plugin": {**auth(), "auth_plugin": "v3password"},
    "v3token": {"auth": {"auth_url": "http://k", "token": "t", "project_name": "j"}, "auth_type": "v3token"},
    "token": {"auth": {"auth_url": "http://k", "token": "t", "project_name": "j"}, "auth_type": "token"},
    "auth_token": {"auth": {"auth_url": "http://k", "project_name": "j"}, "auth_token": "t", "auth_type": "token"},
    "token beside": {"auth": {"auth_url": "http://k"}, "token": "t", "auth_type": "token"},
    "application credential": {"auth": {"auth_url": "http://k", "application_credential_id": "i",
                                        "application_credential_secret": "s"}, "auth_type": "v3applicationcredential"},
    "application credential beside": {"auth_url": "http://k", "application_credential_id": "i",
                                      "application_credential_secret": "s", "auth_type": "v3applicationcredential"},
    "application credential by name": {"auth": {"auth_url": "http://k", "application_credential_name": "n", "username": "u",
                                                "application_credential_secret": "s", "user_domain_id": "d"},
                                       "auth_type": "v3applicationcredential"},
    "application credential without a type": {"auth_url": "http://k", "application_credential_id": "i",
                                              "application_credential_secret": "s"},
    "none": {"auth_type": "none", "endpoint": "http://h"},
    "null type": {**auth(), "auth_type": None},
    "unknown type": {**auth(), "auth_type": "nix"},
    "empty": {},
    "null": None,
    "a text": "x",
    "auth is null": {"auth": None},
    "auth is a text": {"auth": "x"},
    "no auth_url": without("auth_url"),
    "unknown key": auth(nix="x"),
    "region": {**auth(), "region_name": "R"},
    "regions": {**auth(), "regions": ["R1", "R2"]},
    "regions with values": {**auth(), "regions": [{"name": "R1", "values": {"auth": {"auth_url": "http://r1"}, "interface": "internal"}}]},
    "region without values": {**auth(), "regions": [{"name": "R1"}]},
    "region without a name": {**auth(), "regions": [{"values": {}}]},
    "no regions": {**auth(), "regions": []},
    "regions and region": {**auth(), "regions": ["R1"], "region_name": "R2"},
    "region list": {**auth(), "region_name": ["R1", "R2"]},
    "regions by comma": {**auth(), "region_name": "R1,R2"},
    "url of the region": {**auth(auth_url="http://{region_name}.k/v3"), "region_name": "R"},
    "internal": {**auth(), "interface": "internal"},
    "endpoint_type": {**auth(), "endpoint_type": "internalURL"},
    "interfaces": {**auth(), "interface": ["internal", "public"]},
    "verify no": {**auth(), "verify": False},
    "verify yes": {**auth(), "verify": True},
    "verify a text": {**auth(), "verify": "False"},
    "insecure": {**auth(), "insecure": True},
    "insecure a text": {**auth(), "insecure": "true"},
    "insecure no": {**auth(), "insecure": "nix"},
    "cacert": {**auth(), "cacert": "/ca.pem"},
    "cacert and insecure": {**auth(), "cacert": "/ca.pem", "insecure": True},
    "cacert and verify no": {**auth(), "cacert": "/ca.pem", "verify": False},
    "cert": {**auth(), "cert": "/c.pem"},
    "cert and key": {**auth(), "cert": "/c.pem", "key": "/k.pem"},
    "versions": {**auth(), "identity_api_version": 3, "volume_api_version": "3"},
    "unknown profile": {**auth(), "profile": "nix"},
    "own profile": {**auth(), "cloud": "own"},
    "two networks": {**auth(), "networks": [{"name": "n", "routes_externally": True}]},
}

PUBLIC = {"public-clouds": {"own": {"auth": {"auth_url": "http://own", "user_domain_name": "O"}, "region_name": "RO", "interface": "admin"}}}
OTHERS = {
    "profile": {"x": {**without("auth_url"), "profile": "own"}, "files": {"clouds-public.yaml": PUBLIC}},
    "cloud as profile": {"x": {**without("auth_url"), "cloud": "own"}, "files": {"clouds-public.yaml": PUBLIC}},
    "profile and more": {"x": {**auth(), "profile": "own", "region_name": "R"}, "files": {"clouds-public.yaml": PUBLIC}},
    "profile that is not in the file": {"x": {**auth(), "profile": "nix"}, "files": {"clouds-public.yaml": PUBLIC}},
    "secure": {"x": without("password"), "files": {"secure.yaml": {"clouds": {"x": {"auth": {"password": "hidden"}}}}}},
    "secure wins": {"x": auth(), "files": {"secure.yaml": {"clouds": {"x": {"auth": {"password": "hidden"}, "verify": False}}}}},
    "secure alone": {"x": None, "clouds": False, "files": {"secure.yaml": {"clouds": {"x": auth()}}}},
    "secure of others": {"x": auth(), "files": {"secure.yaml": {"clouds": {"y": {"auth": {"password": "hidden"}}}}}},
    "odd neighbours": {"x": auth(), "more": {"a": {"verify": "False"}, "b": None, "c": [1], "d": {"interface": ["internal", "public"]},
                                             "e": {"auth_type": "none", "endpoint": "http://h"}, 5: "x"}},
    "not there": {"x": auth(), "name": "y"},
    "JSON": {"x": None, "clouds": False, "files": {"clouds.json": {"clouds": {"x": auth()}}}},
    "yml": {"x": None, "clouds": False, "files": {"clouds.yml": {"clouds": {"x": auth()}}}},
    "yaml before yml": {"x": auth(), "files": {"clouds.yml": {"clouds": {"x": auth(username="other")}}}},
    "another file": {"x": auth(), "files": {"other.yaml": {"clouds": {"x": auth(username="other")}}}, "env": {"OS_CLIENT_CONFIG_FILE": "other.yaml"}},
    "another file that is not there": {"x": auth(), "env": {"OS_CLIENT_CONFIG_FILE": "nix.yaml"}},
    "another secure file": {"x": auth(), "files": {"hidden.yaml": {"clouds": {"x": {"auth": {"password": "hidden"}}}}},
                            "env": {"OS_CLIENT_SECURE_FILE": "hidden.yaml"}},
    "cloud of the environment": {"x": auth(), "name": None, "env": {"OS_CLOUD": "x"}},
    "variables beside a cloud": {"x": auth(), "env": {"OS_PASSWORD": "other", "OS_REGION_NAME": "R", "OS_AUTH_URL": "http://other"}},
    "variables": {"x": auth(), "name": "envvars", "env": {"OS_AUTH_URL": "http://e", "OS_USERNAME": "e", "OS_PASSWORD": "e", "OS_PROJECT_NAME": "e",
                                                          "OS_USER_DOMAIN_NAME": "E", "OS_REGION_NAME": "R", "OS_INSECURE": "true"}},
    "old variables": {"x": auth(), "name": "envvars", "env": {"OS_AUTH_URL": "http://e", "OS_USERNAME": "e", "OS_PASSWORD": "e",
                                                              "OS_TENANT_NAME": "e", "OS_CACERT": "/ca.pem"}},
    "named variables": {"x": auth(), "name": "mine", "env": {"OS_CLOUD_NAME": "mine", "OS_AUTH_URL": "http://e", "OS_USERNAME": "e",
                                                             "OS_PASSWORD": "e", "OS_PROJECT_ID": "e"}},
    "a cloud named as the variables": {"x": auth(), "more": {"envvars": auth()}},
    "a cloud named as OS_CLOUD_NAME": {"x": auth(), "env": {"OS_CLOUD_NAME": "x"}},
    "no file": {"x": None, "clouds": False},
    "an empty file": {"x": None, "clouds": False, "files": {"clouds.yaml": None}},
}

READ = """
import json, sys, warnings
warnings.simplefilter("ignore")
from openstack import config
try:
    region = config.OpenStackConfig().get_one(*json.loads(sys.argv[1]))
    verify, cert = region.get_requests_verify_args()
    c = region.config
    print(json.dumps({"auth": c["auth"], "auth_type": c["auth_type"], "region": c["region_name"], "interface": c.get("interface"),
                      "verify": verify, "cert": cert}))
except Exception as e:
    print(json.dumps({"error": type(e).__name__}))
"""


def record(name, case):
    files = dict(case.get("files", {}))
    if case.get("clouds", True):
        files["clouds.yaml"] = {"clouds": {**case.get("more", {}), "x": case["x"]}}
    asked = case.get("name", "x")
    with tempfile.TemporaryDirectory() as home:
        folder = os.path.join(home, ".config", "openstack")
        os.makedirs(folder)
        for file, content in files.items():
            with open(os.path.join(folder, file), "w") as f:
                f.write("" if content is None else json.dumps(content))
        env = {k: os.path.join(folder, v) if k.endswith("_FILE") else v for k, v in case.get("env", {}).items()}
        out = subprocess.run(["/usr/bin/python3", "-c", READ, json.dumps([] if asked is None else [asked])], cwd=home, check=True,
                             env={"HOME": home, "PATH": os.environ["PATH"], **env}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    texts = {file: "" if content is None else json.dumps(content) for file, content in files.items()}
    return {"name": name, "files": texts, "env": case.get("env", {}), "cloud": asked or "", "want": json.loads(out)}


cases = {**{name: {"x": entry} for name, entry in CLOUDS.items()}, **OTHERS}
json.dump([record(name, case) for name, case in cases.items()], sys.stdout, indent=1, sort_keys=True)
print()
