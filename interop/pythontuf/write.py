"""Writes repositories with python-tuf, for other clients to read.

    write.py FOLDER

Each repository is a folder below FOLDER with root.json (the trusted root), metadata/, whose
names are percent-encoded, and targets/. cases.json says what is to be found in each: path -> content, or null.
"""

import json
import os
import sys
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from urllib.parse import quote

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

EXPIRES = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)

SIGNERS = {
    "ed25519": CryptoSigner.generate_ed25519,
    "ecdsa": CryptoSigner.generate_ecdsa,
    "rsa": CryptoSigner.generate_rsa,
}


class Repository:
    def __init__(self, folder, key="ed25519", threshold=1, consistent=True, hashes=False, compact=True):
        self.folder, self.hashes, self.consistent = folder, hashes, consistent
        self.serializer = JSONSerializer(compact=compact)
        self.make = SIGNERS[key]
        os.makedirs(os.path.join(folder, "metadata"))
        os.makedirs(os.path.join(folder, "targets"))
        self.expected = {}
        self.mds = {
            "root": Metadata(Root(expires=EXPIRES, consistent_snapshot=consistent)),
            "targets": Metadata(Targets(expires=EXPIRES)),
        }
        self.signers = {}
        for role in ("root", "timestamp", "snapshot", "targets"):
            self.signers[role] = [self.make() for _ in range(threshold)]
            for s in self.signers[role]:
                self.root.add_key(s.public_key, role)
            self.root.roles[role].threshold = threshold

    @property
    def root(self):
        return self.mds["root"].signed

    def role(self, name):
        if name not in self.mds:
            self.mds[name] = Metadata(Targets(expires=EXPIRES))
        return self.mds[name].signed

    def add(self, role, path, content, algorithms=("sha256",)):
        data = content.encode()
        target = TargetFile.from_data(path, data, list(algorithms))
        self.role(role).targets[path] = target
        self.expected[path] = content
        names = [path]
        if self.consistent:
            head, _, tail = path.rpartition("/")
            names = [f"{head + '/' if head else ''}{h}.{tail}" for h in target.hashes.values()]
        for name in names:
            full = os.path.join(self.folder, "targets", name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(data)

    def delegate(self, delegator, name, **what):
        signer = self.make()
        self.signers[name] = [signer]
        parent = self.role(delegator)
        if parent.delegations is None:
            parent.delegations = Delegations({}, {})
        parent.delegations.roles[name] = DelegatedRole(name, [], 1, what.pop("terminating", False), **what)
        parent.add_key(signer.public_key, name)
        self.role(name)

    def bins(self, delegator, bits, prefix):
        signer = self.make()
        succinct = SuccinctRoles([], 1, bits, prefix)
        self.role(delegator).delegations = Delegations({}, None, succinct)
        self.role(delegator).add_key(signer.public_key)
        for name in succinct.get_roles():
            self.role(name)
            self.signers[name] = [signer]
        return succinct

    def save(self, role, signers):
        md = self.mds[role]
        md.signatures.clear()
        for s in signers:
            md.sign(s, append=True)
        data = md.to_bytes(self.serializer)
        name = f"{role}.json"
        if role == "root" or (self.consistent and role != "timestamp"):
            name = f"{md.signed.version}.{name}"
        with open(os.path.join(self.folder, "metadata", quote(name, "")), "wb") as f:
            f.write(data)
        if self.hashes:
            return MetaFile(md.signed.version, len(data), {"sha256": sha256(data).hexdigest()})
        return MetaFile(md.signed.version)

    def publish_root(self, *more):
        self.save("root", [*self.signers["root"], *more])

    def publish(self):
        meta = {}
        for role in self.mds:
            if role != "root":
                meta[f"{role}.json"] = self.save(role, self.signers[role])
        self.mds["snapshot"] = Metadata(Snapshot(expires=EXPIRES, meta=meta))
        listed = self.save("snapshot", self.signers["snapshot"])
        self.mds["timestamp"] = Metadata(Timestamp(expires=EXPIRES, snapshot_meta=listed))
        self.save("timestamp", self.signers["timestamp"])


def simple(folder, **options):
    r = Repository(folder, **options)
    r.add("targets", "file", "content")
    r.add("targets", "dir/other file+~", "more content")
    r.delegate("targets", "role", paths=["sub/*"])
    r.add("role", "sub/f", "delegated")
    r.delegate("role", "child/of?role", paths=["sub/*"], terminating=True)
    r.add("child/of?role", "sub/g", "by the child")
    r.expected["sub/none"] = None
    r.publish_root()
    r.publish()
    return r


def unknown_members(folder):
    r = Repository(folder)
    r.add("targets", "file", "content")
    r.role("targets").targets["file"].unrecognized_fields["custom"] = {"x": [1, None, True, {"ü": "\n\"\\"}]}
    for role in ("root", "targets"):
        r.role(role).unrecognized_fields["x-more"] = {"b": 2, "a": ["\u0001", "\U0001f600", 9007199254740993]}
    r.delegate("targets", "role", paths=["*"])
    r.role("targets").delegations.roles["role"].unrecognized_fields["x"] = 1
    r.role("targets").delegations.unrecognized_fields["y"] = "\u2028"
    r.publish_root()
    r.publish()
    return r


def rotation(folder):
    r = Repository(folder)
    r.add("targets", "file", "content")
    r.publish_root()
    for i in range(3):
        old = r.signers["root"]
        for role in ("root", "timestamp", "snapshot", "targets"):
            for s in r.signers[role]:
                r.root.revoke_key(s.public_key.keyid, role)
            r.signers[role] = [list(SIGNERS.values())[i]()]
            r.root.add_key(r.signers[role][0].public_key, role)
        r.root.version += 1
        r.publish_root(*old)
    r.publish()
    return r


def bins(folder, bits):
    r = Repository(folder)
    succinct = r.bins("targets", bits, "bin")
    for i in range(20):
        path = f"dir/file-{i}"
        r.add(succinct.get_role_for_target(path), path, f"content {i}")
    r.expected["dir/none"] = None
    r.publish_root()
    r.publish()
    return r


def prefixes(folder):
    r = Repository(folder)
    for digit in "0123456789abcdef":
        r.delegate("targets", f"hashed-{digit}", path_hash_prefixes=[digit])
    for i in range(20):
        path = f"dir/file-{i}"
        r.add("hashed-" + sha256(path.encode()).hexdigest()[0], path, f"content {i}")
    r.publish_root()
    r.publish()
    return r


def hash_algorithms(folder):
    r = Repository(folder)
    r.add("targets", "short", "content", ["sha256"])
    r.add("targets", "long", "content", ["sha512"])
    r.add("targets", "both", "content", ["sha256", "sha512"])
    r.publish_root()
    r.publish()
    return r


def main(out):
    cases = {
        "ed25519": simple,
        "ecdsa": lambda f: simple(f, key="ecdsa"),
        "rsa": lambda f: simple(f, key="rsa"),
        "indented": lambda f: simple(f, compact=False),
        "lengths and hashes": lambda f: simple(f, hashes=True),
        "plain names": lambda f: simple(f, consistent=False),
        "threshold of three": lambda f: simple(f, threshold=3),
        "unknown members": unknown_members,
        "rotation": rotation,
        "two bins": lambda f: bins(f, 1),
        "32 bins": lambda f: bins(f, 5),
        "256 bins": lambda f: bins(f, 8),
        "hash prefixes": prefixes,
        "hash algorithms": hash_algorithms,
    }
    expected = {}
    for name, write in cases.items():
        folder = os.path.join(out, name)
        expected[name] = write(folder).expected
        with open(os.path.join(folder, "metadata", "1.root.json"), "rb") as f:
            first = f.read()
        with open(os.path.join(folder, "root.json"), "wb") as f:
            f.write(first)
    with open(os.path.join(out, "cases.json"), "w", encoding="utf-8") as f:
        json.dump(expected, f)


main(sys.argv[1])
